-- Newest first; IDs sort by time. Events of deleted users remain. The limit is one more than the page size; an extra
-- row means that there is a next page.
select
    id, at, event, outcome, subject_id, actor, actor_id, session_id, abbrev(ip_address) as ip_address, user_agent, reason,
    count
from audit_events
where subject_id = $1 and id < $2
order by id desc
limit $3
