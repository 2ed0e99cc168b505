-- Sessions, items and mails go with it.
delete from users where id = $1
