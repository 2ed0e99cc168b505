-- The row is locked, so the values read before are still current. $9: increment the generation, which revokes all
-- sessions and tokens.
update users
set username = $2,
    email = $3,
    email_verified = $4,
    name = $5,
    role = $6,
    groups = coalesce($11, groups),
    disabled = $7,
    password_hash = coalesce($8, password_hash),
    password_change_required = $8 is not null or password_change_required,
    generation = generation + case when $9 then 1 else 0 end,
    identity_changed_at = case when identity_version = $10 then identity_changed_at else now() end,
    identity_version = $10
where id = $1
returning id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required
