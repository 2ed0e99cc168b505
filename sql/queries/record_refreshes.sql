-- Counters only grow. A session that has ended, is of another generation or is gone is not among those returned.
with seen as (
    select * from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[]) as seen (sid, counter, at, address)
), held as (
    select sessions.sid
    from sessions
    join seen on seen.sid = sessions.sid
    join users on users.id = sessions.user_id and users.gen = sessions.gen
    where sessions.ended_at is null
    order by sessions.sid
    for update of sessions
)
update sessions
set counter = greatest(sessions.counter, seen.counter),
    refreshed_at = greatest(sessions.refreshed_at, seen.at),
    address = seen.address
from seen
join held on held.sid = seen.sid
where sessions.sid = seen.sid
returning sessions.sid
