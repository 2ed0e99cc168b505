-- Active tokens only.
select t.id, t.name, t.scope, t.created_at, t.expires_at, t.last_used_at
from personal_access_tokens t
join users u on u.id = t.user_id and u.generation = t.generation
where t.user_id = $1 and t.id > $2 and t.expires_at > now()
order by t.id
limit $3
