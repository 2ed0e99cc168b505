-- Whose names, address or role changed since a moment, in pages.
select id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled,
    identity_changed_at
from users
where (identity_changed_at, id) > ($1, $2)
order by identity_changed_at, id
limit $3
