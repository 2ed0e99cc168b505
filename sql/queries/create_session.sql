-- Creates a session and its audit event ($11 to $21) in one statement, because sign-ins come in bursts.
-- "for share" locks the user's row. A concurrent password change either waits for this statement, or is committed and
-- this statement matches no user. So no sign-in with the previous password leaves a session behind.
-- Returns no row in that case; otherwise whether the user might have more than $22 active sessions. The result is
-- approximate, because concurrent sign-ins don't see each other.
with created as (
    insert into sessions (id, user_id, generation, client_id, scope, created_at, expires_at, ip_address, user_agent)
    select $4, u.id, u.generation, $5, $6, $7, $8, $9::text::inet, $10
    from (
        select id, generation from users
        where id = $1 and password_hash = $2 and generation = $3 and not disabled
        for share
    ) u
    returning user_id
), audited as (
    insert into audit_events (
        id, at, event, outcome, subject_id, actor_id, actor, session_id, ip_address, user_agent, reason
    )
    select $11, $12, $13, $14, $15, $16, $17, $18, $19::text::inet, $20, $21 from created
)
select exists (
    select from sessions where user_id = $1 and revoked_at is null offset greatest($22::bigint - 32, 0)
) as might_exceed_limit
from created
