-- Each pair is a flag, whether the field changes, and its value. $7 lists the versions that the client accepts; null
-- means any.
update items
set name = case when $3 then $4 else name end,
    description = case when $5 then $6 else description end,
    version = version + 1,
    updated_at = now()
where user_id = $1 and id = $2 and ($7::bigint[] is null or version = any($7))
returning id, name, description, version, created_at, updated_at
