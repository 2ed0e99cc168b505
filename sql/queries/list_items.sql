-- One more than the page is asked for, to know whether there is a next one.
select id, name, description, version, created_at, updated_at
from items
where owner_id = $1 and id > $2
order by id
limit $3
