-- Case-insensitive prefix search by username or email address. The ranges use the unique indexes: both columns contain
-- ASCII only, and no ASCII character sorts after chr(127). $4: only the members of a group; null selects all users.
select id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required
from users
where id > $1
    and ($4::text is null or groups @> array[$4])
    and (
        (lower(username collate "C") >= lower($3 collate "C")
            and lower(username collate "C") <= lower($3 collate "C") || chr(127))
        or (lower(email collate "C") >= lower($3 collate "C")
            and lower(email collate "C") <= lower($3 collate "C") || chr(127))
    )
order by id
limit $2
