-- The same password with stronger parameters. $2 is the previous hash: a concurrent password change wins.
update users set password_hash = $3 where id = $1 and password_hash = $2
