-- Counts failures that change no other table. Similar events of one minute share a row on all replicas, because its ID
-- is derived from the minute and the event. Rows are written in the order of their IDs to avoid deadlocks.
insert into audit_events (
    id, at, event, outcome, subject_id, actor_id, actor, session_id, ip_address, reason, count
)
select id, at, event, outcome, subject_id, actor_id, actor, session_id, ip_address::inet, reason, count
from unnest(
    $1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::uuid[], $9::text[],
    $10::text[], $11::bigint[]
) as counted (id, at, event, outcome, subject_id, actor_id, actor, session_id, ip_address, reason, count)
order by id
on conflict on constraint audit_events_pkey do update set count = audit_events.count + excluded.count
