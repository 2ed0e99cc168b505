-- What was taken back, one every 3 ms, until five minutes ago: sessions of others than the users. An entry lives for 65
-- minutes. What is younger than some seconds is compared with Redis again and again, which is no part of the steady state.
insert into revocations (kind, subject, user_id, reason, revoked_at, expires_at)
select 'session', '00000000-0000-7000-c000-' || n, ('00000000000070008001' || n)::uuid, 'logout', revoked_at,
    revoked_at + interval '65 minutes'
from generate_series($FIRST, $LAST) n,
    lateral (select now() - interval '5 minutes' - (n - $FIRST) * interval '3 ms') as moment (revoked_at);
