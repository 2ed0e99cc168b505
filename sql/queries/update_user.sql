-- Each member: whether it is to be changed, and to what. A taken name is found by the unique index.
update users
set username = case when $2 then $3 else username end,
    name = case when $4 then $5 else name end,
    identity_version = identity_version + 1,
    identity_changed_at = now()
where id = $1
returning id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled
