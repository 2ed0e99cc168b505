-- The record decides that a code works once, whatever Redis remembers.
update outbox set consumed_at = now() where id = $1 and consumed_at is null returning id
