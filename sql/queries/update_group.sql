-- $2: whether the description changes.
update groups
set description = case when $2 then $3 else description end
where name = $1
returning name, description, created_at
