-- A deleted user gets no further emails.
delete from email_outbox where user_id = $1
