-- What landed outside of the months goes one by one, when its time has come, and not before.
delete from audit_default
where (at, id) in (
    select at, id from audit_default where at < now() - make_interval(secs => $1) order by at limit $2
)
