-- Pages of users whose token claims changed after a time.
select id, username, email, email_verified, name, role, created_at, generation, identity_version, disabled,
    identity_changed_at
from users
where (identity_changed_at, id) > ($1, $2)
order by identity_changed_at, id
limit $3
