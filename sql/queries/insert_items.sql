-- One item or many: those who make some at the same moment share it, and its commit. They come by owner, so that two of
-- these never wait for each other's rows of users.
insert into items (owner_id, id, name, description)
select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[])
returning owner_id, id, name, description, version, created_at, updated_at
