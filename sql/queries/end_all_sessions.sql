update sessions set ended_at = now(), ended_by = $2 where user_id = $1 and ended_at is null
