-- A month after the expiry, so that `latchkey explain` can still report it.
delete from personal_access_tokens
where id in (
    select id from personal_access_tokens
    where expires_at < now() - interval '30 days'
    order by expires_at limit $1 for update skip locked
)
