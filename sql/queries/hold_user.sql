-- Held until Redis has taken a session in: whatever would end it waits for us, or was before us and is seen.
select id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled
from users
where id = $1
for share
