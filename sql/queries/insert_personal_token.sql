-- The user is held and the session is live, so that nothing which ends everything leaves a token behind that was made at the
-- same moment; and there are no more than $8.
insert into personal_tokens (id, user_id, gen, name, secret_hash, scope, expires_at)
select $1, u.id, u.gen, $4, $5, $6, $7
from (select id, gen from users where id = $2 and gen = $9 and not disabled for update) u
join sessions s on s.sid = $3 and s.user_id = u.id and s.ended_at is null
where (select count(*) from personal_tokens t where t.user_id = u.id and t.gen = u.gen and t.expires_at > now()) < $8
returning created_at
