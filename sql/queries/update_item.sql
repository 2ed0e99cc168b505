-- Each member: whether it is to be changed, and to what. $7 lists the versions that the client has seen; null is any.
update items
set name = case when $3 then $4 else name end,
    description = case when $5 then $6 else description end,
    version = version + 1,
    updated_at = now()
where owner_id = $1 and id = $2 and ($7::bigint[] is null or version = any($7))
returning id, name, description, version, created_at, updated_at
