-- Live ones: not ended, not over, and not idle; those of browsers ($5) are idle sooner.
select sid, created_at, refreshed_at, ends_at, address, agent,
    least(ends_at, refreshed_at + make_interval(secs => case when client_id = $5 then $4::float8 else $3::float8 end)) as live_until
from sessions
where user_id = $1 and sid > $2 and ended_at is null and ends_at > now()
    and refreshed_at + make_interval(secs => case when client_id = $5 then $4::float8 else $3::float8 end) > now()
order by sid
limit $6
