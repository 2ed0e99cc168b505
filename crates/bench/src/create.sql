-- The statement of POST /items, for one of the 5,000 users whose items are not read.
\set user_digits random(100000005001, 100000010000)
\set item random(1000000000000000, 9999999999999999)
insert into items (user_id, id, name, description)
values (('00000000000070008000' || :user_digits::text)::uuid, ('0000000070008000' || :item::text)::uuid, 'Book', 'A nice book')
returning id, name, description, version, created_at, updated_at;
