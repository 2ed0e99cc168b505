-- The table is locked, so the number of groups stays below $3. A duplicate name violates the primary key.
insert into groups (name, description)
select $1, $2 where (select count(*) from groups) < $3
returning name, description, created_at
