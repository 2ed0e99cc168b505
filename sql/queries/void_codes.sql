-- No code that was made for this user works any more, and none that still waits is sent.
update outbox set consumed_at = now(), sent_at = coalesce(sent_at, now())
where user_id = $1 and template = any($2) and consumed_at is null
