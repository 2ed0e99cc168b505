-- Commit times are compared with the clock of PostgreSQL, not with that of the replica.
select now()
