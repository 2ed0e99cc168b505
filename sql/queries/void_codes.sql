-- Other mails with codes for this user that still wait are not sent any more.
update outbox set consumed_at = now(), sent_at = coalesce(sent_at, now()) where user_id = $1 and template = $2 and consumed_at is null
