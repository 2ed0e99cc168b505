-- A code that couldn't be sent in time has expired. A new row with a new code replaces it.
with expired as (
    update email_outbox set sent_at = now(), claimed_until = null where id = $1 and sent_at is null
    returning template, user_id, recipient, created_at, ip_address, user_agent, priority
)
insert into email_outbox (id, template, user_id, recipient, created_at, ip_address, user_agent, priority)
select $2, template, user_id, recipient, created_at, ip_address, user_agent, priority from expired
