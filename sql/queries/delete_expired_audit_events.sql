-- Events in the default partition are deleted one by one when the retention period has passed.
delete from audit_events_default
where (at, id) in (
    select at, id from audit_events_default where at < now() - make_interval(secs => $1) order by at limit $2
)
