-- A month after their end nobody asks any more why they ended. "skip locked": whoever holds one is not waited for.
delete from sessions
where sid in (
    select sid from sessions
    where coalesce(ended_at, ends_at) < now() - interval '30 days'
    order by coalesce(ended_at, ends_at)
    limit $1
    for update skip locked
)
