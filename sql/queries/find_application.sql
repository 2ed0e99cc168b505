select id, origin, role, scope, groups, created_at, updated_at from applications where id = $1
