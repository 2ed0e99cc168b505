-- To the stored address of the user.
insert into email_outbox (id, template, user_id, recipient)
select $1, $2, id, email from users where id = $3 and email is not null
