-- And whose they are. A token of a generation before its user's is over.
select t.id as token_id, t.gen as token_gen, t.secret_hash, t.scope, t.created_at as token_created_at, t.expires_at,
    u.id, u.username, u.email, u.email_verified, u.name, u.role, u.created_at, u.gen, u.identity_version, u.disabled
from personal_tokens t
join users u on u.id = t.user_id
where t.id = any($1)
