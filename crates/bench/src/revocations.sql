-- Revoked sessions of other users, one every 3 ms, until five minutes ago. An entry expires after 65 minutes. Replicas
-- compare recent rows with Redis repeatedly, which doesn't belong to the steady state.
insert into revocations (kind, subject_id, user_id, reason, revoked_at, expires_at)
select 'session', '00000000-0000-7000-c000-' || n, ('00000000000070008001' || n)::uuid, 'sign_out', revoked_at,
    revoked_at + interval '65 minutes'
from generate_series($FIRST, $LAST) n,
    lateral (select now() - interval '5 minutes' - (n - $FIRST) * interval '3 ms') as moment (revoked_at);
