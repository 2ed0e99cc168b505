-- "for share" holds the user's row: a password change that began before waits for us or makes us find nothing, so no
-- sign-in that began before it leaves a session behind.
insert into sessions (sid, user_id, gen, client_id, scope, created_at, ends_at, address, agent)
select $4, u.id, u.gen, $5, $6, $7, $8, $9, $10
from (select id, gen from users where id = $1 and password_hash = $2 and gen = $3 and not disabled for share) u
