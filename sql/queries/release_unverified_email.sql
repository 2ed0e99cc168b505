-- Another user has the address of this code without having verified it. The code proves that the address belongs to
-- $1, so the other user loses it. A user without a username gets one, because a user needs a name.
with holder as (
    select users.id from users, email_outbox sent
    where sent.id = $2 and sent.user_id = $1 and sent.consumed_at is null
        and lower(users.email collate "C") = lower(sent.recipient collate "C")
        and users.id <> $1 and not users.email_verified
    for update of users
)
update users
set email = null,
    username = coalesce(username, 'user-' || right(gen_random_uuid()::text, 12)),
    identity_version = identity_version + 1,
    identity_changed_at = now()
from holder
where users.id = holder.id
returning users.id, username, users.email, email_verified, name, role, groups, created_at, generation,
    identity_version, disabled, password_change_required
