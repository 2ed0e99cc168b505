-- Active sessions: not revoked, not expired, and not idle. Browser sessions ($5) have their own idle timeout.
select id, created_at, last_used_at, expires_at, abbrev(ip_address) as ip_address, user_agent,
    least(
        expires_at, last_used_at + make_interval(secs => case when client_id = $5 then $4::float8 else $3::float8 end)
    ) as active_until
from sessions
where user_id = $1 and id > $2 and revoked_at is null and expires_at > now()
    and last_used_at + make_interval(secs => case when client_id = $5 then $4::float8 else $3::float8 end) > now()
order by id
limit $6
