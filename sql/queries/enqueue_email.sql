-- To the stored address of the user. An unverified address can belong to another person, so it gets no notices, only
-- the invitation of an administrator.
insert into email_outbox (id, template, user_id, recipient, priority, ip_address, user_agent)
select $1, $2, id, email, $4, $5::text::inet, $6 from users
where id = $3 and email is not null and (email_verified or $2 = 'invitation')
