-- Months of which every event is older than what is kept. "regclass" quotes the name where it must be.
do $$
declare
    month regclass;
begin
    -- It needs a lock that everybody who writes would wait behind: not for long.
    perform set_config('lock_timeout', '300ms', true);
    for month in
        select inhrelid::regclass
        from pg_inherits
        join pg_class on pg_class.oid = inhrelid
        where inhparent = 'audit'::regclass and current_setting('latchkey.audit_kept_since')::timestamptz >= case
            when relname ~ '^audit_[0-9]{4}_(0[1-9]|1[0-2])$'
            then (to_date(relname, '"audit_"YYYY_MM') + interval '1 month') at time zone 'utc'
        end
    loop
        execute format('drop table %s', month);
    end loop;
end
$$
