-- Signs in, and records the event ($11 to $21): both or neither, in one statement, because sign-ins come in storms.
-- "for share" holds the user's row: a password change that began before waits for us or makes us find nothing, so no
-- sign-in that began before it leaves a session behind.
-- Returns nothing where that is so; else whether the user may have about $22 live sessions: only then somebody need look.
-- About, because sign-ins at the same moment do not see each other.
with opened as (
    insert into sessions (sid, user_id, gen, client_id, scope, created_at, ends_at, address, agent)
    select $4, u.id, u.gen, $5, $6, $7, $8, $9, $10
    from (select id, gen from users where id = $1 and password_hash = $2 and gen = $3 and not disabled for share) u
    returning user_id
), told as (
    insert into audit (id, at, event, outcome, user_id, actor_id, actor, sid, address, agent, reason)
    select $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21 from opened
)
select exists (select from sessions where user_id = $1 and ended_at is null offset greatest($22::bigint - 32, 0)) as crowded from opened
