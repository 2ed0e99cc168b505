-- The newest invitation of a user, from whose ID its code is derived again. A used one is found, too, so that a repeated
-- request is recognized. The index on users limits the rows.
select id, first_sent_at, consumed_at is not null as consumed
from email_outbox
where user_id = $1 and template = 'invitation' and first_sent_at is not null and invalidated_at is null
order by id desc
limit 1
