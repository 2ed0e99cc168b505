-- Every token of the user from before is refused.
update users set gen = gen + 1 where id = $1 returning gen
