-- The statement of GET /items, for one of the 1,000 users with more than a page of items.
\set user_digits random(100000000001, 100000001000)
select id, name, description, version, created_at, updated_at
from items
where user_id = ('00000000000070008000' || :user_digits::text)::uuid and id > '00000000-0000-0000-0000-000000000000'
order by id
limit 21;
