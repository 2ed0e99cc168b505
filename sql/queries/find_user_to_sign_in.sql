-- A username never contains an "@", so at most one of the two conditions matches.
select id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required, password_hash
from users
where lower(username collate "C") = lower($1 collate "C") or lower(email collate "C") = lower($1 collate "C")
