-- Each pair is a flag, whether the field changes, and its value. The unique index reports a duplicate username.
update users
set username = case when $2 then $3 else username end,
    name = case when $4 then $5 else name end,
    identity_version = identity_version + 1,
    identity_changed_at = now()
where id = $1
returning id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required
