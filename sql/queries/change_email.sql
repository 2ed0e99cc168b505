-- The address is that of the mail which carried the code. What it was before is told, so that its owner can be.
update users
set email = mail.recipient,
    email_verified = true,
    identity_version = users.identity_version + 1,
    identity_changed_at = now()
from outbox mail, (select id, email from users where id = $1 for update) before
where users.id = before.id and mail.id = $2 and mail.user_id = users.id and mail.consumed_at is null
returning users.id, username, users.email, email_verified, name, role, users.created_at, gen, identity_version, disabled,
    before.email as email_before
