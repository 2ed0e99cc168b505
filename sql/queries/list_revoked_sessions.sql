-- Sessions of a user that were revoked recently, so that their tokens might not have expired. A repeated revocation
-- responds only when these are enforced as well.
select id from sessions
where user_id = $1 and revoked_at > now() - make_interval(secs => $2)
order by id
