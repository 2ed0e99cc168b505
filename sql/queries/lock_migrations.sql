-- One process at a time. The lock ends with the transaction, so no connection pooler or crash can keep it.
select pg_advisory_xact_lock($1)
