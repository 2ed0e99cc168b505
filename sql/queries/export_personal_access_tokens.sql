-- All tokens of a user, also expired ones, which the cleanup worker deletes. Without their hashes.
select id, name, scope, created_at, expires_at, last_used_at
from personal_access_tokens
where user_id = $1 and id > $2
order by id
limit $3
