-- Sessions and items are deleted by foreign keys.
delete from users where id = $1
