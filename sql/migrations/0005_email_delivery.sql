-- One-time codes are sent before other emails: 0 for a code, 1 for a code after a failed attempt, 2 for a notice.
alter table email_outbox add column priority smallint not null default 2;

-- The end of the claim of the replica that sends the email. The replica renews it.
alter table email_outbox add column claimed_until timestamptz;

drop index email_outbox_due;
create index email_outbox_due on email_outbox (priority, next_attempt_at) where sent_at is null and consumed_at is null;

-- Whether an email to a recipient is being sent.
create index email_outbox_claimed on email_outbox (lower(recipient collate "C")) where claimed_until is not null;
