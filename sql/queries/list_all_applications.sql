-- Replicas read all rows every second. Their number is limited.
select id, origin, role, scope, groups, created_at, updated_at from applications order by id
