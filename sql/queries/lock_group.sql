-- Waits for transactions that assign the group. A later statement sees the members that they have added.
select from groups where name = $1 for update
