-- All that the record knows of one token: $1 is its user or client, $2 its session, $3 itself, $5 its key. What ended everything of the account
-- is remembered for an hour with the revocations, and longer with the events: $4 lists the reasons that do.
select
    u.gen, u.disabled, c.gen as client_gen,
    s.gen as session_gen, s.counter, s.refreshed_at, s.ends_at, s.ended_at, s.ended_by,
    t.revoked_at as token_at, t.reason as token_reason,
    k.revoked_at as key_at, k.reason as key_reason,
    coalesce(a.revoked_at, e.at) as everything_at, coalesce(a.reason, e.reason) as everything_reason,
    (
        select max(at) from audit
        where user_id = $1 and event = case when u.id is null then 'account_deleted' else 'account_disabled' end
    ) as closed_at
from (select 1) one
left join users u on u.id = $1
left join clients c on c.id = $1
left join sessions s on s.user_id = $1 and s.sid = $2
left join revocations t on t.kind = 'token' and t.subject = $3::uuid::text
left join revocations k on k.kind = 'key' and k.subject = $5
left join revocations a on a.kind = case when c.id is null then 'user' else 'client' end and a.subject = $1::uuid::text
left join lateral (
    select at, reason from audit
    where user_id = $1 and reason = any($4) and event <> 'session_ended'
    order by id desc
    limit 1
) e on true
