select recipient, consumed_at is not null as consumed, invalidated_at is not null as invalidated
from email_outbox
where id = $1
