-- Compared with the hash that the current password was checked against: of two changes at once, one finds nothing.
update users set password_hash = $3 where id = $1 and password_hash = $2
