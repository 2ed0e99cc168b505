-- Partitions belong to the owner of the table. These functions run with the rights of the owner, so the role of the
-- server needs no right to create tables. They search only pg_catalog, so that another role can't substitute a
-- function.

do $create$
begin
execute format($function$
-- Creates the partitions of this month and the next two, by the clock of PostgreSQL. If the default partition already
-- contains rows of a month, they stay there and the month gets no partition. Names and bounds follow from the date.
create function create_audit_partitions() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $body$
declare
    month timestamp;
    name text;
begin
    for ahead in 0..2 loop
        month := date_trunc('month', now() at time zone 'utc') + make_interval(months => ahead);
        name := to_char(month, '"audit_events_"YYYY_MM');
        continue when to_regclass(format('%%I.%%I', %1$L, name)) is not null;
        -- The statement needs a lock that blocks all writers, so it gives up early.
        perform set_config('lock_timeout', '300ms', true);
        continue when exists (
            select from %1$I.audit_events_default
            where at >= month at time zone 'utc' and at < (month + interval '1 month') at time zone 'utc'
        );
        execute format(
            'create table %%I.%%I partition of %%I.audit_events for values from (%%L) to (%%L)',
            %1$L, name, %1$L, month at time zone 'utc', (month + interval '1 month') at time zone 'utc'
        );
    end loop;
end
$body$
$function$, current_schema());
execute format($function$
-- Drops the months that contain only events older than the retention period (in seconds, at least a day). Returns their
-- number. "regclass" quotes names if necessary.
create function drop_audit_partitions(retention double precision) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $body$
declare
    retained_since timestamptz := now() - make_interval(secs => greatest(retention, 86400));
    month regclass;
    dropped bigint := 0;
begin
    for month in
        select inhrelid::regclass
        from pg_inherits
        join pg_class on pg_class.oid = inhrelid
        where inhparent = '%1$I.audit_events'::regclass
            and retained_since >= case
                when relname ~ '^audit_events_[0-9]{4}_(0[1-9]|1[0-2])$'
                then (to_date(relname, '"audit_events_"YYYY_MM') + interval '1 month') at time zone 'utc'
            end
    loop
        -- The statement needs a lock that blocks all writers, so it gives up early.
        perform set_config('lock_timeout', '300ms', true);
        execute format('drop table %%s', month);
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$body$
$function$, current_schema());
end
$create$;

-- Other roles of the database must not drop events.
revoke execute on function create_audit_partitions(), drop_audit_partitions(double precision) from public;
