update email_outbox set sent_at = now(), claimed_until = null where id = $1
