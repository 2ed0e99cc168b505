-- All sessions of a user, also expired and revoked ones, which the cleanup worker deletes.
select id, client_id, scope, created_at, last_used_at, expires_at, revoked_at, revoked_reason,
    abbrev(ip_address) as ip_address, user_agent
from sessions
where user_id = $1 and id > $2
order by id
limit $3
