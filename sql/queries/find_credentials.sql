select id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required, password_hash
from users
where id = $1
