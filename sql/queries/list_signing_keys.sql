-- All keys, latest signing time first. Times are in milliseconds since the Unix epoch; `now` is the current time of
-- PostgreSQL. "clock_timestamp", because the transaction might have waited for another one that created a key.
select
    kid, public_key, sealed_private_key,
    floor(extract(epoch from signs_from) * 1000)::bigint as signs_from,
    floor(extract(epoch from revoked_at) * 1000)::bigint as revoked_at,
    floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now
from signing_keys
order by signs_from desc, kid
