-- The table is locked, so the number of applications stays below $6. A duplicate origin violates the unique constraint.
insert into applications (id, origin, role, scope, groups)
select $1, $2, $3, $4, $5 where (select count(*) from applications) < $6
returning id, origin, role, scope, groups, created_at, updated_at
