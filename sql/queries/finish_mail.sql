update outbox set sent_at = now() where id = $1
