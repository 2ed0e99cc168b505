-- The store or the mail server reported a failure, so the backoff is shorter than after a crash. A code whose first
-- attempt has failed comes after other codes.
update email_outbox
set claimed_until = null,
    priority = greatest(priority, 1),
    next_attempt_at = now() + interval '1 second' * least(60, power(2, least(attempts, 7) - 1))
where id = $1
