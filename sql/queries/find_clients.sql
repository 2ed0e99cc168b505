select id, name, secret_hash, scope, audiences, generation, created_at, rotated_at from oauth_clients where id = any($1)
