-- The code ($1) is used, and no other code for the address works any longer. The rows now belong to the new user ($3),
-- so that the deletion of the user deletes them.
update email_outbox
set user_id = $3,
    consumed_at = coalesce(consumed_at, now()),
    invalidated_at = case when id <> $1 and consumed_at is null then now() else invalidated_at end,
    sent_at = coalesce(sent_at, now())
where user_id = $2
