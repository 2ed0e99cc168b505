-- A month after their end, so that whoever asks finds out what became of them.
delete from personal_tokens
where id in (
    select id from personal_tokens
    where expires_at < now() - interval '30 days'
    order by expires_at limit $1 for update skip locked
)
