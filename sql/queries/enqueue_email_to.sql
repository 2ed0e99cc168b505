-- To an address that isn't, or is no longer, the user's. Whether it is in use already is checked at confirmation.
insert into email_outbox (id, template, user_id, recipient, priority, ip_address, user_agent)
values ($1, $2, $3, $4, $5, $6::text::inet, $7)
