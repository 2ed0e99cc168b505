-- Whose user name or address begins with this, in any case. As ranges, which the unique indexes find: both columns hold
-- ASCII alone, and no character of it comes after the last one.
select id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled
from users
where id > $1
    and (
        (lower(username collate "C") >= lower($3 collate "C") and lower(username collate "C") <= lower($3 collate "C") || chr(127))
        or (lower(email collate "C") >= lower($3 collate "C") and lower(email collate "C") <= lower($3 collate "C") || chr(127))
    )
order by id
limit $2
