-- One item or many, of one owner or many: those who ask at the same moment share it.
select items.owner_id, items.id, name, description, version, created_at, updated_at
from unnest($1::uuid[], $2::uuid[]) wanted (owner_id, id)
join items on items.owner_id = wanted.owner_id and items.id = wanted.id
