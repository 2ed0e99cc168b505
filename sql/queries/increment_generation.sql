-- Revokes all existing tokens of the user.
update users set generation = generation + 1 where id = $1 returning generation
