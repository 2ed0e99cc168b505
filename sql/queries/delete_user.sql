-- Sessions and items go with it.
delete from users where id = $1
