-- What ended everything of the user has ended those of before.
delete from personal_tokens where user_id = $1 and gen < $2
