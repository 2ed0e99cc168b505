-- Of two rows for one subject, the larger generation and the later expiry win. A repeated revocation gets a new time,
-- so that the publisher compares it with Redis again.
insert into revocations (kind, subject_id, user_id, min_generation, reason, expires_at)
select entry.kind, entry.subject_id, $1, entry.min_generation, $2,
    coalesce(to_timestamp(entry.expires_at), now() + make_interval(secs => $3::float8))
from unnest($4::text[], $5::text[], $6::bigint[], $7::float8[]) as entry (kind, subject_id, min_generation, expires_at)
on conflict on constraint revocations_pkey do update
set min_generation = greatest(revocations.min_generation, excluded.min_generation),
    -- The reason belongs to the larger generation.
    reason = case
        when excluded.min_generation > revocations.min_generation then excluded.reason else revocations.reason
    end,
    expires_at = greatest(revocations.expires_at, excluded.expires_at),
    revoked_at = greatest(revocations.revoked_at, now())
