-- Whether a user has this username, or had it until recently.
select exists (
    select from reserved_names
    where hash = name_hash('username', $1) and (reserved_until is null or reserved_until >= now())
) as is_taken
