-- Concurrent lookups share this statement.
select id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required
from users
where id = any($1)
