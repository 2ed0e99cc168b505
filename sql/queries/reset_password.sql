-- Incrementing the generation revokes all existing tokens. A code verifies the email address that it was sent to; a
-- code without a recipient (created by the operator) verifies nothing. If the address changed after the code was sent,
-- the code is invalid.
update users
set password_hash = $2,
    password_change_required = false,
    generation = generation + 1,
    email_verified = email_verified or sent.recipient is not null,
    identity_version = identity_version + 1,
    identity_changed_at = now()
from email_outbox sent
where users.id = $1 and not disabled and sent.id = $3 and sent.user_id = users.id
    and (sent.recipient is null or lower(sent.recipient collate "C") = lower(users.email collate "C"))
returning users.id, username, email, email_verified, name, role, groups, users.created_at, generation,
    identity_version, disabled, password_change_required
