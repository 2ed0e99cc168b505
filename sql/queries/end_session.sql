-- Ended once: a repeat leaves time and reason as they are.
update sessions set ended_at = now(), ended_by = $3 where user_id = $1 and sid = $2 and ended_at is null returning sid
