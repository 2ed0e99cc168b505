select id, name, secret_hash, scope, audiences, gen, created_at, rotated_at
from clients
where id > $1
order by id
limit $2
