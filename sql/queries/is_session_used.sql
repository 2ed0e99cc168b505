-- Whether a session is active and was used since a time.
select from sessions
where user_id = $1 and id = $2 and revoked_at is null and expires_at > now() and last_used_at >= $3
