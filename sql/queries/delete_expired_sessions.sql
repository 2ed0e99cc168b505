-- A month after the end, so that `latchkey explain` can still report it. Locked rows are skipped.
delete from sessions
where id in (
    select id from sessions
    where coalesce(revoked_at, expires_at) < now() - interval '30 days'
    order by coalesce(revoked_at, expires_at)
    limit $1
    for update skip locked
)
