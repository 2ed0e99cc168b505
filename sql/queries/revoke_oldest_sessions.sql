-- Keeps $2 active sessions of the user and revokes the oldest others. Idle sessions don't count; browser sessions ($6)
-- have their own idle timeout. Rows are locked in the order of their IDs to avoid deadlocks.
with excess as (
    select id from sessions
    where user_id = $1 and revoked_at is null and expires_at > now()
        and last_used_at + make_interval(secs => case when client_id = $6 then $5::float8 else $4::float8 end) > now()
    order by id desc
    offset $2
), locked as (
    select id from sessions where id in (select id from excess) and revoked_at is null order by id for update
)
update sessions set revoked_at = now(), revoked_reason = $3
from locked
where sessions.id = locked.id
returning sessions.id
