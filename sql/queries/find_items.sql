-- Concurrent lookups share this statement.
select items.user_id, items.id, name, description, version, created_at, updated_at
from unnest($1::uuid[], $2::uuid[]) requested (user_id, id)
join items on items.user_id = requested.user_id and items.id = requested.id
