-- What was taken back since a moment, in pages. What nobody can use any more is left out.
select kind, subject, user_id, below, reason, revoked_at, extract(epoch from expires_at)::bigint as ends_at
from revocations
where (revoked_at, kind, subject) > ($1, $2, $3) and expires_at > now()
order by revoked_at, kind, subject
limit $4
