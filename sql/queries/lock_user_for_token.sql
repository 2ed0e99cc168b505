-- The lock ensures that a concurrent revocation of all tokens includes the new token, and that concurrently created
-- tokens are counted one after the other.
select from users where id = $1 and generation = $2 and not disabled for update
