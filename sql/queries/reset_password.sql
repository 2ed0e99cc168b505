-- A new password, a new generation: every token from before is refused. Whoever read the mail owns the address, if it is
-- still the account's: a code that is on its way to an address that was changed meanwhile is worth nothing. One that was
-- not mailed proves nothing about an address.
update users
set password_hash = $2,
    gen = gen + 1,
    email_verified = email_verified or mail.recipient is not null,
    identity_version = identity_version + 1,
    identity_changed_at = now()
from outbox mail
where users.id = $1 and not disabled and mail.id = $3 and mail.user_id = users.id
    and (mail.recipient is null or lower(mail.recipient collate "C") = lower(users.email collate "C"))
returning users.id, username, email, email_verified, name, role, users.created_at, gen, identity_version, disabled
