-- The unique indexes report duplicates. A lookup beforehand would race with another registration.
insert into users
    (id, username, email, password_hash, name, role, password_change_required, email_verified, groups)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
returning id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required
