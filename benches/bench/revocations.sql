-- What was taken back five minutes ago: sessions of others than the users. An entry lives for 65 minutes; what is younger
-- than some seconds is compared with Redis again and again, which is no part of the steady state.
insert into revocations (kind, subject, user_id, reason, revoked_at, expires_at)
select 'session', '00000000-0000-7000-c000-' || n, ('00000000000070008001' || n)::uuid, 'logout',
    now() - interval '5 minutes', now() + interval '60 minutes'
from generate_series($FIRST, $LAST) n;
