-- The identity of the database cluster, and its timeline, which each promotion increments, in hexadecimal.
select system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8) from pg_control_system()
