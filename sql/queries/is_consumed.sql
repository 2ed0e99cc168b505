select consumed_at is not null from outbox where id = $1
