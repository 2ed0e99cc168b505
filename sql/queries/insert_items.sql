-- Concurrent inserts share this statement and its commit. They are ordered by user to avoid deadlocks on rows of users.
insert into items (user_id, id, name, description)
select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[])
returning user_id, id, name, description, version, created_at, updated_at
