-- A taken name or address is found by the unique index, never by a look beforehand: two sign-ups may race.
insert into users (id, username, email, password_hash, name, role)
values ($1, $2, $3, $4, $5, $6)
returning id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled
