-- A new password, a new generation: every token from before is refused. Whoever read the mail owns the address; a code that
-- was not mailed ($3) proves nothing about it.
update users set password_hash = $2, gen = gen + 1,
    email_verified = email_verified or exists (select from outbox where id = $3 and recipient is not null),
    identity_version = identity_version + 1, identity_changed_at = now()
where id = $1 and not disabled
returning id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled, password_hash
