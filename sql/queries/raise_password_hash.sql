-- The same password under stronger parameters. Compared with the old hash: a change of password meanwhile wins.
update users set password_hash = $3 where id = $1 and password_hash = $2
