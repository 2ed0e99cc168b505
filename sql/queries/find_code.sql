select recipient, consumed_at is not null as consumed, voided_at is not null as void from outbox where id = $1
