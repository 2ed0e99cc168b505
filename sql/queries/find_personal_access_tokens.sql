-- Tokens with their users. If the generations differ, the token is revoked.
select t.id as token_id, t.generation as token_generation, t.secret_hash, t.scope, t.created_at as token_created_at,
    t.expires_at, u.id, u.username, u.email, u.email_verified, u.name, u.role, u.groups, u.created_at, u.generation,
    u.identity_version, u.disabled, u.password_change_required
from personal_access_tokens t
join users u on u.id = t.user_id
where t.id = any($1)
