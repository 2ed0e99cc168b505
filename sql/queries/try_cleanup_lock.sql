-- One replica at a time. The lock ends with the transaction, so no connection pooler or crash can keep it.
select pg_try_advisory_xact_lock($1)
