select gen, client_id, scope, created_at, ends_at, counter, refreshed_at, ended_at is not null as ended
from sessions
where user_id = $1 and sid = $2
for share
