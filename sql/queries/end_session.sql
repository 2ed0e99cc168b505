-- Ended once: a repeat leaves time and reason as they are.
update sessions set ended_at = now(), ended_by = $2 where sid = $1 and ended_at is null
