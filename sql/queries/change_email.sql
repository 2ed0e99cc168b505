-- Stores the address that the code was sent to. Returns the previous address, which gets a notice if it was
-- verified.
update users
set email = sent.recipient,
    email_verified = true,
    identity_version = users.identity_version + 1,
    identity_changed_at = now()
from email_outbox sent, (select id, email, email_verified from users where id = $1 for update) before
where users.id = before.id and sent.id = $2 and sent.user_id = users.id and sent.consumed_at is null
returning users.id, username, users.email, users.email_verified, name, role, groups, users.created_at, generation,
    identity_version, disabled, password_change_required, before.email as email_before,
    before.email_verified as verified_before
