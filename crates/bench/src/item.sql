-- The statement of GET /items/{id}, for the first item of one of the 10,000 users.
\set user random(1, 10000)
\set user_digits 100000000000 + :user
\set item 100000000001 + :user * 100
select id, name, description, version, created_at, updated_at
from items
where user_id = ('00000000000070008000' || :user_digits::text)::uuid and id = ('00000000000070009000' || :item::text)::uuid;
