-- Partitions for this month and the next two, by the record's clock. A month of which the default partition has rows
-- already stays there: nothing is moved, and so nothing can be lost. Names and bounds are made of the date alone.
do $$
declare
    month timestamp;
    name text;
begin
    for ahead in 0..2 loop
        month := date_trunc('month', now() at time zone 'utc') + make_interval(months => ahead);
        name := to_char(month, '"audit_"YYYY_MM');
        continue when to_regclass(quote_ident(name)) is not null;
        -- It needs a lock that everybody who writes would wait behind: not for long.
        perform set_config('lock_timeout', '300ms', true);
        continue when exists (
            select from audit_default
            where at >= month at time zone 'utc' and at < (month + interval '1 month') at time zone 'utc'
        );
        execute format(
            'create table %I partition of audit for values from (%L) to (%L)',
            name, month at time zone 'utc', (month + interval '1 month') at time zone 'utc'
        );
    end loop;
end
$$
