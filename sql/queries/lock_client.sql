select id, name, secret_hash, scope, audiences, generation, created_at, rotated_at
from oauth_clients
where id = $1
for update
