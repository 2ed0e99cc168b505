-- The record of what is taken back. Of two entries for one subject the larger generation and the later end win; an entry
-- that exists already counts as new, so that the publisher looks at it again.
insert into revocations (kind, subject, user_id, below, reason, expires_at)
select entry.kind, entry.subject, $1, entry.below, $2, coalesce(to_timestamp(entry.ends_at), now() + make_interval(secs => $3::float8))
from unnest($4::text[], $5::text[], $6::bigint[], $7::float8[]) as entry (kind, subject, below, ends_at)
on conflict on constraint revocations_pkey do update
set below = greatest(revocations.below, excluded.below),
    -- Of two generations, the reason of the larger.
    reason = case when excluded.below > revocations.below then excluded.reason else revocations.reason end,
    expires_at = greatest(revocations.expires_at, excluded.expires_at),
    revoked_at = greatest(revocations.revoked_at, now())
