-- Tokens of a smaller generation are revoked.
delete from personal_access_tokens where user_id = $1 and generation < $2
