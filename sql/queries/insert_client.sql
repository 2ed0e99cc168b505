insert into oauth_clients (id, name, secret_hash, scope, audiences) values ($1, $2, $3, $4, $5)
returning id, name, secret_hash, scope, audiences, generation, created_at, rotated_at
