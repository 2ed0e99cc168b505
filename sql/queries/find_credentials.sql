select id, username, email, email_verified, name, role, created_at, gen, identity_version, disabled, password_hash
from users
where id = $1
