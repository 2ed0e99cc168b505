update email_outbox set sent_at = now() where id = $1
