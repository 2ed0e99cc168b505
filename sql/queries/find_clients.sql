select id, name, secret_hash, scope, audiences, gen, created_at, rotated_at from clients where id = any($1)
