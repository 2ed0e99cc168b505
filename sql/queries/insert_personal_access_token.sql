-- The user is locked. The session that creates the token must be active, and the user can have at most $8 tokens. The
-- ID must be unused: the form of a browser contains it, so that a repeated request has no second effect.
insert into personal_access_tokens (id, user_id, generation, name, secret_hash, scope, expires_at)
select $1::uuid, $2, $9, $4, $5, $6, $7
from sessions s
where s.id = $3 and s.user_id = $2 and s.revoked_at is null
    and (select count(*) from personal_access_tokens t where t.user_id = $2 and t.expires_at > now()) < $8
    and not exists (select from revocations r where r.kind = 'token' and r.subject_id = $1::uuid::text)
on conflict (id) do nothing
returning created_at
