-- The user is held. The session that makes it is live, and there are no more than $8.
insert into personal_tokens (id, user_id, gen, name, secret_hash, scope, expires_at)
select $1, $2, $9, $4, $5, $6, $7
from sessions s
where s.sid = $3 and s.user_id = $2 and s.ended_at is null
    and (select count(*) from personal_tokens t where t.user_id = $2 and t.expires_at > now()) < $8
returning created_at
