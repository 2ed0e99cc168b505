-- Takes the next mail that is due. "skip locked": replicas never wait for each other. The row stays until it is sent; if
-- this replica dies, it is due again after the back-off (15 s, doubled each time, at most an hour). $1 lists the templates
-- that this version knows: a newer replica's mail is left to it.
update outbox
set attempts = attempts + 1,
    first_sent_at = coalesce(first_sent_at, now()),
    next_attempt_at = now() + least(interval '1 hour', interval '15 seconds' * power(2, least(attempts, 8)))
where id = (
    select id from outbox
    where template = any($1) and sent_at is null and consumed_at is null and next_attempt_at <= now()
    order by next_attempt_at
    limit 1
    for update skip locked
)
returning id, template, user_id, recipient, created_at, ip_address, user_agent, first_sent_at, attempts
