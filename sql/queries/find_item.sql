select id, name, description, version, created_at, updated_at from items where owner_id = $1 and id = $2
