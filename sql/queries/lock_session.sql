select generation, client_id, scope, created_at, expires_at, rotation_counter, last_used_at,
    revoked_at is not null as is_revoked
from sessions
where user_id = $1 and id = $2
for share
