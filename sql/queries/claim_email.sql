-- Claims the next due email. With "skip locked", replicas never wait for each other. The row stays until the email is
-- sent. If this replica crashes, the email is due again after the backoff (15 s, doubled per attempt, at most an hour).
-- $1 lists the templates of this version; emails of a newer version are left to newer replicas.
update email_outbox
set attempts = attempts + 1,
    first_sent_at = coalesce(first_sent_at, now()),
    next_attempt_at = now() + least(interval '1 hour', interval '15 seconds' * power(2, least(attempts, 8)))
where id = (
    select id from email_outbox
    where template = any($1) and sent_at is null and consumed_at is null and next_attempt_at <= now()
    order by next_attempt_at
    limit 1
    for update skip locked
)
returning id, template, user_id, recipient, created_at, abbrev(ip_address) as ip_address, user_agent, first_sent_at,
    attempts
