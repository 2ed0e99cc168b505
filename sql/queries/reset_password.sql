-- A new password, a new generation: every token from before is refused. Whoever read the mail owns the address.
update users set password_hash = $2, gen = gen + 1, email_verified = true, identity_version = identity_version + 1,
    identity_changed_at = now()
where id = $1 and not disabled
returning id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled, password_hash
