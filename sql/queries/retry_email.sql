-- The store or the mail server reported a temporary failure, so the backoff is shorter than after a crash.
update email_outbox
set next_attempt_at = least(
    next_attempt_at, now() + interval '1 second' * least(60, power(2, least(attempts, 7) - 1))
)
where id = $1
