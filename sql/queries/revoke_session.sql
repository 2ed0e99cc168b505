-- A repeated revocation keeps the first time and reason.
update sessions
set revoked_at = now(), revoked_reason = $3
where user_id = $1 and id = $2 and revoked_at is null
returning id
