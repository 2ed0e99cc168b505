-- Counters never decrease. Returns the active sessions: not deleted, not revoked, and of the user's generation.
with seen as (
    select * from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[]) as seen (id, counter, at, ip_address)
), locked as (
    select sessions.id
    from sessions
    join seen on seen.id = sessions.id
    join users on users.id = sessions.user_id and users.generation = sessions.generation
    where sessions.revoked_at is null
    order by sessions.id
    for update of sessions
)
update sessions
set rotation_counter = greatest(sessions.rotation_counter, seen.counter),
    last_used_at = greatest(sessions.last_used_at, seen.at),
    ip_address = seen.ip_address::inet
from seen
join locked on locked.id = seen.id
where sessions.id = seen.id
returning sessions.id
