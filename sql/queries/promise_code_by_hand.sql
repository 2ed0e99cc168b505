-- A code that the operator hands over. It has no recipient, because nothing is mailed, and so proves no address.
insert into outbox (id, template, user_id, first_sent_at, sent_at)
select $1, $2, id, now(), now() from users where id = $3 and email is not null and not disabled
