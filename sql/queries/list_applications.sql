-- The limit is one more than the page size; an extra row means that there is a next page.
select id, origin, role, scope, groups, created_at, updated_at
from applications
where id > $1
order by id
limit $2
