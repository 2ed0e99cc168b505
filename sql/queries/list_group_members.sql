-- The second condition on the groups allows the partial index. The limit is one more than the page size; an extra row
-- means that there is a next page.
select id, username, email, email_verified, name, role, groups, created_at, generation, identity_version, disabled,
    password_change_required
from users
where id > $1 and groups @> array[$3::text] and groups <> '{}'
order by id
limit $2
