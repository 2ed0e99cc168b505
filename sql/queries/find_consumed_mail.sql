select recipient from outbox where id = $1 and consumed_at is not null
