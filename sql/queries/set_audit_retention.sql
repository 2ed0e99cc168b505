-- Sets the retention period (in seconds) for this transaction, because the statement that drops partitions takes no
-- parameters. Returns the number of partitions to drop.
select set_config('latchkey.audit_retained_since', (now() - make_interval(secs => $1))::text, true), (
    select count(*)
    from pg_inherits
    join pg_class on pg_class.oid = inhrelid
    where inhparent = 'audit_events'::regclass and now() - make_interval(secs => $1) >= case
        when relname ~ '^audit_events_[0-9]{4}_(0[1-9]|1[0-2])$'
        then (to_date(relname, '"audit_events_"YYYY_MM') + interval '1 month') at time zone 'utc'
    end
)
