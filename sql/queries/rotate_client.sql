-- Another secret, and every token that was had with the one before is refused.
update clients set secret_hash = $2, gen = gen + 1, rotated_at = now() where id = $1
returning id, name, secret_hash, scope, audiences, gen, created_at, rotated_at
