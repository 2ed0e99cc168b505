-- Incrementing the generation revokes all tokens with a removed scope or audience.
update oauth_clients set name = $2, scope = $3, audiences = $4, generation = $5 where id = $1
