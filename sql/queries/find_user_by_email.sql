select id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required
from users
where lower(email collate "C") = lower($1 collate "C")
