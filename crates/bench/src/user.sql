-- The statement of GET /user, for one of the 10,000 users.
\set user random(100000000001, 100000010000)
select id, username, email, email_verified, name, role, created_at, generation, identity_version, disabled
from users
where id = ('00000000000070008000' || :user::text)::uuid;
