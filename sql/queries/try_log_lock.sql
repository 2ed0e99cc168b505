-- One builds the revocation log at a time; until the end of the transaction, so that no pooler and no crash can keep it.
select pg_try_advisory_xact_lock($1)
