-- The tables that the role can't read or can't change.
select relname::text from pg_class
where relnamespace = current_schema()::regnamespace and relname = any($1)
    and not (
        has_table_privilege(oid, 'SELECT') and has_table_privilege(oid, 'INSERT')
        and has_table_privilege(oid, 'UPDATE') and has_table_privilege(oid, 'DELETE')
    )
order by relname
