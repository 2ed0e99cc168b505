-- No existing code of the user works any longer, and no pending one is sent. An invalidated code counts as not used: it
-- verifies no address.
update email_outbox set consumed_at = now(), invalidated_at = now(), sent_at = coalesce(sent_at, now())
where user_id = $1 and template = any($2) and consumed_at is null
