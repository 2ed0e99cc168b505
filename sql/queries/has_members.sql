-- The materialized list makes the planner use the index, although one row is enough: a scan of all users would be slow
-- for a group without members. The second condition allows the partial index.
with members as materialized (
    select id from users where groups @> array[$1::text] and groups <> '{}'
)
select exists (select from members)
