-- Incrementing the generation revokes all tokens with a removed scope or audience.
update oauth_clients set name = $2, scope = coalesce($3, scope), audiences = $4, generation = $5 where id = $1
