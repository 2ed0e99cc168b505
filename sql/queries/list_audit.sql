-- The newest first, because that is what people look for; ids sort by time. What the account saw while it was there
-- stays when it is gone. One more than the page is asked for, to know whether there is a next one.
select id, at, event, outcome, actor, actor_id, sid, address, agent, reason, count
from audit
where user_id = $1 and id < $2
order by id desc
limit $3
