-- Pages of users whose token claims changed after a time. The planner derives from the first condition that the column
-- is not null, which the partial index requires.
select id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required, identity_changed_at
from users
where identity_changed_at >= $1 and (identity_changed_at, id) > ($1, $2)
order by identity_changed_at, id
limit $3
