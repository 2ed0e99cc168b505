-- In the order of their ids, as everywhere, so that two of these never wait for each other.
with others as (
    select sid from sessions
    where user_id = $1 and sid <> $2 and ended_at is null
    order by sid
    for update
)
update sessions set ended_at = now(), ended_by = $3
from others
where sessions.sid = others.sid
returning sessions.sid
