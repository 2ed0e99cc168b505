-- Pages of revocations after a time. Includes expired rows, because they might never have been published in Redis.
select kind, subject_id, user_id, min_generation, reason, revoked_at,
    extract(epoch from expires_at)::bigint as expires_at
from revocations
where (revoked_at, kind, subject_id) > ($1, $2, $3)
order by revoked_at, kind, subject_id
limit $4
