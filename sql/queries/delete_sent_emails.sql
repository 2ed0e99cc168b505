-- A day after the email was sent or its code was used. Codes live for minutes, so a code that is presented again still
-- finds its row.
delete from email_outbox
where id in (
    select id from email_outbox
    where coalesce(sent_at, consumed_at) < now() - interval '1 day'
    order by coalesce(sent_at, consumed_at)
    limit $1
    for update skip locked
)
