-- Of the next 100 users, increments the generation of those who have a session or a personal access token in force. The
-- other users keep theirs, so that the revocation log gets no entry without an effect. Rows are locked in the order of
-- their IDs to avoid deadlocks.
with page as (
    select id from users where id > $1 order by id limit 100
),
active as (
    select u.id
    from users u
    join page on page.id = u.id
    where exists (
            select from sessions s where s.user_id = u.id and s.revoked_at is null and s.expires_at > now()
        )
        or exists (
            select from personal_access_tokens t
            where t.user_id = u.id and t.generation = u.generation and t.expires_at > now()
        )
    order by u.id
    for update of u
),
incremented as (
    update users set generation = generation + 1 from active where users.id = active.id
    returning users.id, users.generation
)
select page.id, incremented.generation
from page
left join incremented on incremented.id = page.id
order by page.id
