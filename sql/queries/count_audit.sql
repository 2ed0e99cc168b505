-- What changes no other table: one row for all that is alike within a minute, on every replica, because they make the
-- same id of it. In the order of the ids, so that two replicas never wait for each other in a circle.
insert into audit (id, at, event, outcome, user_id, actor_id, actor, sid, address, reason, count)
select *
from unnest(
    $1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::uuid[], $9::text[],
    $10::text[], $11::bigint[]
) as seen (id, at, event, outcome, user_id, actor_id, actor, sid, address, reason, count)
order by id
on conflict on constraint audit_pkey do update set count = audit.count + excluded.count
