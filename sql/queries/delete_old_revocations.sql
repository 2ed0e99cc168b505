-- Every token that they concern is dead, and Redis was told: what is later than $2 may not have been published yet, and
-- would let refreshing go on. One that is raised meanwhile has a later end, and stays.
delete from revocations
where (kind, subject) in (
    select kind, subject from revocations
    where expires_at < now() and revoked_at < $2
    order by expires_at limit $1 for update skip locked
)
