-- Creates a session and its audit event ($11 to $21) in one statement, because sign-ins come in bursts.
-- "for share" locks the user's row. A concurrent password change either waits for this statement, or is committed and
-- this statement matches no user. So no sign-in with the previous password leaves a session behind.
-- The user is notified ($23 to $25) if none of the last 100 sessions has this browser.
-- Returns no row if the password has changed; otherwise whether the user might have more than $22 active sessions. The
-- result is approximate, because concurrent sign-ins don't see each other.
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
), noticed as (
    insert into email_outbox (id, template, user_id, recipient, priority, ip_address, user_agent)
    select $23, $24, users.id, users.email, $25, $9::text::inet, $10
    from created
    join users on users.id = created.user_id
    cross join lateral (
        -- A new version of a browser isn't a new device.
        select coalesce(bool_or(
            regexp_replace(user_agent, '[0-9.]+', '', 'g') is not distinct from
                regexp_replace($10, '[0-9.]+', '', 'g')
        ), false) as has_device
        from (
            select user_agent from sessions where user_id = users.id order by id desc limit 100
        ) recent
    ) earlier
    -- The first session is created with the user.
    where users.email is not null and users.email_verified and users.created_at < now() and not earlier.has_device
)
select exists (
    select from sessions where user_id = $1 and revoked_at is null offset greatest($22::bigint - 32, 0)
) as might_exceed_limit
from created
