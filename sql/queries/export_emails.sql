-- The emails of a user in the outbox. A one-time code is derived from the ID of its email, so the ID isn't exported.
select id, template, recipient, created_at, sent_at, abbrev(ip_address) as ip_address, user_agent
from email_outbox
where user_id = $1 and id > $2
order by id
limit $3
