-- Ends the reservation of a released username or email address. A name that a user has is kept.
delete from reserved_names
where hash in (name_hash('username', $1), name_hash('email', $1)) and reserved_until is not null
returning user_id
