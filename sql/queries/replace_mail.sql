-- A code that could not be sent in time is dead. A fresh row, and so a fresh code, takes its place.
with dead as (update outbox set sent_at = now() where id = $1 and sent_at is null returning template, user_id, recipient, created_at)
insert into outbox (id, template, user_id, recipient, created_at)
select $2, template, user_id, recipient, created_at from dead
