-- Extends the claim, so that no other replica sends the email meanwhile.
update email_outbox
set claimed_until = now() + interval '15 seconds',
    next_attempt_at = greatest(next_attempt_at, now() + interval '15 seconds')
where id = $1 and sent_at is null
