-- Holds an account and, where it is an administrator's, all administrators: of two who would take the last two away at
-- once, the second sees what the first did. In the order of their ids, so that they never wait for each other.
select id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled
from users
where id = $1 or (role = 'admin' and exists (select from users where id = $1 and role = 'admin'))
order by id
for no key update
