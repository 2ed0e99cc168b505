-- The limit is one more than the page size; an extra row means that there is a next page. No name is empty.
select name, description, created_at
from groups
where name > $1
order by name
limit $2
