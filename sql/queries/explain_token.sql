-- Returns the state of one token: $1 is its user or OAuth client, $2 its session, $3 its ID, $5 its signing key. A
-- revocation of all tokens of a user is kept for an hour in revocations, and longer in audit_events: $4 lists its
-- reasons.
select
    u.generation, u.disabled, c.generation as client_generation,
    s.generation as session_generation, s.rotation_counter, s.last_used_at, s.expires_at, s.revoked_at,
    s.revoked_reason,
    t.revoked_at as token_at, t.reason as token_reason,
    k.revoked_at as key_at, k.reason as key_reason,
    coalesce(a.revoked_at, e.at) as all_at, coalesce(a.reason, e.reason) as all_reason,
    (
        select max(at) from audit_events
        where subject_id = $1 and event = case when u.id is null then 'user_deleted' else 'user_disabled' end
    ) as closed_at
from (select 1) one
left join users u on u.id = $1
left join oauth_clients c on c.id = $1
left join sessions s on s.user_id = $1 and s.id = $2
left join revocations t on t.kind = 'token' and t.subject_id = $3::uuid::text
left join revocations k on k.kind = 'key' and k.subject_id = $5
left join revocations a
    on a.kind = case when c.id is null then 'user' else 'client' end and a.subject_id = $1::uuid::text
left join lateral (
    select at, reason from audit_events
    where subject_id = $1 and reason = any($4) and event <> 'session_revoked'
    order by id desc
    limit 1
) e on true
