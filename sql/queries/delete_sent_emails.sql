-- A day after the email was sent or its code was used. Most codes live for minutes, so a code that is presented again
-- still finds its row. The code of an unused invitation is derived from its row, which stays for a day longer than the
-- longest lifetime of an invitation.
delete from email_outbox
where id in (
    select id from email_outbox
    where coalesce(sent_at, consumed_at) < now() - interval '1 day'
        and (template <> 'invitation' or consumed_at is not null or sent_at < now() - interval '8 days')
    order by coalesce(sent_at, consumed_at)
    limit $1
    for update skip locked
)
