-- One more than the page is asked for, to know whether there is a next one.
select id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled
from users
where id > $1
order by id
limit $2
