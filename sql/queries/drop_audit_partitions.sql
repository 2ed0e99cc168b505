-- Drops months that contain only events older than the retention period. "regclass" quotes names if necessary.
do $$
declare
    month regclass;
begin
    -- The statement needs a lock that blocks all writers, so it gives up early.
    perform set_config('lock_timeout', '300ms', true);
    for month in
        select inhrelid::regclass
        from pg_inherits
        join pg_class on pg_class.oid = inhrelid
        where inhparent = 'audit_events'::regclass
            and current_setting('latchkey.audit_retained_since')::timestamptz >= case
                when relname ~ '^audit_events_[0-9]{4}_(0[1-9]|1[0-2])$'
                then (to_date(relname, '"audit_events_"YYYY_MM') + interval '1 month') at time zone 'utc'
            end
    loop
        execute format('drop table %s', month);
    end loop;
end
$$
