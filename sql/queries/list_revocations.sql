-- What was taken back since a moment, in pages. Also what is over: what is still here may never have reached Redis.
select kind, subject, user_id, below, reason, revoked_at, extract(epoch from expires_at)::bigint as ends_at
from revocations
where (revoked_at, kind, subject) > ($1, $2, $3)
order by revoked_at, kind, subject
limit $4
