update sessions set revoked_at = now(), revoked_reason = $2 where user_id = $1 and revoked_at is null
