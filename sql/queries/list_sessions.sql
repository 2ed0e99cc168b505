select sid, created_at, ends_at, address, agent
from sessions
where user_id = $1 and ended_at is null and ends_at > now()
order by sid
limit 100
