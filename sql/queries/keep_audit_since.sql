-- How long events are kept, in seconds, for the rest of the transaction: the statement that drops months takes no
-- parameters. Returns how many months it will drop.
select set_config('latchkey.audit_kept_since', (now() - make_interval(secs => $1))::text, true), (
    select count(*)
    from pg_inherits
    join pg_class on pg_class.oid = inhrelid
    where inhparent = 'audit'::regclass and now() - make_interval(secs => $1) >= case
        when relname ~ '^audit_[0-9]{4}_(0[1-9]|1[0-2])$'
        then (to_date(relname, '"audit_"YYYY_MM') + interval '1 month') at time zone 'utc'
    end
)
