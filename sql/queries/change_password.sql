-- $2 is the hash that the current password was verified against. Of two concurrent changes, one matches no row.
update users set password_hash = $3, password_change_required = false where id = $1 and password_hash = $2
