-- Claims the next due email, one-time codes first. With "skip locked", replicas never wait for each other. The row
-- stays until the email is sent. If this replica crashes, the email is due again after the backoff (15 s, doubled per
-- attempt, at most an hour). $1 lists the templates of this version; emails of a newer version are left to newer
-- replicas. $2 is the last priority. An email waits while another one to the same recipient is being sent, but a code
-- never waits for a notice. Concurrent
-- claims don't see each other, so two replicas can still send to one recipient at once.
update email_outbox
set attempts = attempts + 1,
    first_sent_at = coalesce(first_sent_at, now()),
    claimed_until = now() + interval '15 seconds',
    next_attempt_at = now() + least(interval '1 hour', interval '15 seconds' * power(2, least(attempts, 8)))
where id = (
    select due.id from email_outbox due
    where due.template = any($1) and due.priority <= $2 and due.sent_at is null and due.consumed_at is null
        and due.next_attempt_at <= now()
        and not exists (
            select from email_outbox sending
            where lower(sending.recipient collate "C") = lower(due.recipient collate "C")
                and sending.claimed_until > now() and sending.priority <= due.priority
        )
    order by due.priority, due.next_attempt_at
    limit 1
    for update of due skip locked
)
returning id, template, user_id, recipient, created_at, abbrev(ip_address) as ip_address, user_agent, first_sent_at,
    attempts
