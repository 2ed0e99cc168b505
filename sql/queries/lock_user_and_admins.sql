-- Locks a user and, if the user is an administrator, all administrators. Of two transactions that would remove the last
-- two administrators, the second sees the result of the first; a row whose role has changed is returned with its
-- current values. Rows are locked in the order of their IDs to avoid deadlocks.
select id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required
from users
where id in (
    select $1
    union all
    select id from users where role = 'admin' and exists (select from users where id = $1 and role = 'admin')
)
order by id
for no key update
