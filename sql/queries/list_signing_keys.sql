-- All keys, the one that signs last comes first; times in ms since the epoch, with the record's own clock beside them: read
-- now, and not when the transaction began, which may have waited for others to make a key.
select
    kid, public_key, sealed_private_key,
    floor(extract(epoch from signs_from) * 1000)::bigint as signs_from,
    floor(extract(epoch from revoked_at) * 1000)::bigint as revoked_at,
    floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now
from signing_keys
order by signs_from desc, kid
