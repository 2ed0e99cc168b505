-- One account or many: those who ask at the same moment share it.
select id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled
from users
where id = any($1)
