-- Names whose reservation has passed, so that another user can take them.
delete from reserved_names
where hash in (
    select hash from reserved_names
    where reserved_until < now()
    order by reserved_until
    limit $1
    for update skip locked
)
