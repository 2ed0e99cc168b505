-- Incrementing the generation revokes all tokens issued with the previous secret.
update oauth_clients set secret_hash = $2, generation = generation + 1, rotated_at = now() where id = $1
returning id, name, secret_hash, scope, audiences, generation, created_at, rotated_at
