-- Locked until Redis has restored the session: concurrent revocations wait, and committed ones are visible.
select id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required
from users
where id = $1
for share
