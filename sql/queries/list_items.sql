-- The limit is one more than the page size; an extra row means that there is a next page.
select id, name, description, version, created_at, updated_at
from items
where user_id = $1 and id > $2
order by id
limit $3
