-- A user keeps so many live sessions ($2); the oldest go. Idle ones do not count, those of browsers ($6) are idle sooner.
-- In the order of their ids, as everywhere.
with too_many as (
    select sid from sessions
    where user_id = $1 and ended_at is null and ends_at > now()
        and refreshed_at + make_interval(secs => case when client_id = $6 then $5::float8 else $4::float8 end) > now()
    order by sid desc
    offset $2
), held as (
    select sid from sessions where sid in (select sid from too_many) and ended_at is null order by sid for update
)
update sessions set ended_at = now(), ended_by = $3
from held
where sessions.sid = held.sid
returning sessions.sid
