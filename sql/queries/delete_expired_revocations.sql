-- All tokens that these rows concern have expired, and the rows are published in Redis. Rows later than $2 might not be
-- published yet; without them, refresh tokens would stay valid. A row that is extended meanwhile has a later expiry and
-- stays.
delete from revocations
where (kind, subject_id) in (
    select kind, subject_id from revocations
    where expires_at < now() and revoked_at < $2
    order by expires_at limit $1 for update skip locked
)
