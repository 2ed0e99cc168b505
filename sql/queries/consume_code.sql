-- PostgreSQL ensures that a code works once, whatever Redis contains.
update email_outbox set consumed_at = now() where id = $1 and consumed_at is null returning id
