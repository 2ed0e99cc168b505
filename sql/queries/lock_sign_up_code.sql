-- Of two transactions with the same code, the second waits here, and then finds that the code is used.
select recipient from email_outbox where id = $1 and user_id = $2 and consumed_at is null for update
