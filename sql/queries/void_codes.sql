-- No code that was made for this user works any more, and none that still waits is sent. Void is not used: whoever has
-- such a code has proved nothing.
update outbox set consumed_at = now(), voided_at = now(), sent_at = coalesce(sent_at, now())
where user_id = $1 and template = any($2) and consumed_at is null
