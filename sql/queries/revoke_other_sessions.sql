-- Rows are locked in the order of their IDs to avoid deadlocks.
with others as (
    select id from sessions
    where user_id = $1 and id <> $2 and revoked_at is null
    order by id
    for update
)
update sessions set revoked_at = now(), revoked_reason = $3
from others
where sessions.id = others.id
returning sessions.id
