-- A day after it was sent, or after its code was used: a code lives for minutes only, so that whoever presents it, even
-- for the second time, still finds its row.
delete from outbox
where id in (
    select id from outbox
    where coalesce(sent_at, consumed_at) < now() - interval '1 day'
    order by coalesce(sent_at, consumed_at)
    limit $1
    for update skip locked
)
