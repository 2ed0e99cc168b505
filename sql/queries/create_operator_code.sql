-- A code that the operator passes on. It has no recipient, because no email is sent, and verifies no address.
insert into email_outbox (id, template, user_id, first_sent_at, sent_at)
select $1, $2, id, now(), now() from users where id = $3 and email is not null and not disabled
