insert into items (owner_id, id, name, description)
values ($1, $2, $3, $4)
returning id, name, description, version, created_at, updated_at
