-- A user name never holds an "@", so at most one of the two matches.
select id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled, password_hash
from users
where lower(username collate "C") = lower($1 collate "C") or lower(email collate "C") = lower($1 collate "C")
