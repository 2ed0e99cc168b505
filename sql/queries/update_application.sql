-- A null origin keeps the column; each flag replaces the column after it.
update applications set
    origin = coalesce($2, origin),
    role = case when $3 then $4 else role end,
    scope = case when $5 then $6 else scope end,
    groups = case when $7 then $8 else groups end,
    updated_at = now()
where id = $1
returning id, origin, role, scope, groups, created_at, updated_at
