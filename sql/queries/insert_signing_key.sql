-- The key signs in $4 seconds. Returns that time, in milliseconds since the Unix epoch.
insert into signing_keys (kid, public_key, sealed_private_key, signs_from)
values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
returning floor(extract(epoch from signs_from) * 1000)::bigint
