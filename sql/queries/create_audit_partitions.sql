-- Creates the partitions of this month and the next two, by the clock of PostgreSQL. If the default partition already
-- contains rows of a month, they stay there and the month gets no partition. Names and bounds follow from the date.
do $$
declare
    month timestamp;
    name text;
begin
    for ahead in 0..2 loop
        month := date_trunc('month', now() at time zone 'utc') + make_interval(months => ahead);
        name := to_char(month, '"audit_events_"YYYY_MM');
        continue when to_regclass(quote_ident(name)) is not null;
        -- The statement needs a lock that blocks all writers, so it gives up early.
        perform set_config('lock_timeout', '300ms', true);
        continue when exists (
            select from audit_events_default
            where at >= month at time zone 'utc' and at < (month + interval '1 month') at time zone 'utc'
        );
        execute format(
            'create table %I partition of audit_events for values from (%L) to (%L)',
            name, month at time zone 'utc', (month + interval '1 month') at time zone 'utc'
        );
    end loop;
end
$$
