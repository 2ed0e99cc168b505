-- Groups that a user gets. They can't be deleted before the end of the transaction. Rows are locked in the order of
-- their names to avoid deadlocks.
select name from groups where name = any($1) order by name for key share
