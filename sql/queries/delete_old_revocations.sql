-- Every token that they concern is dead. One that is raised meanwhile has a later end, and stays.
delete from revocations
where (kind, subject) in (
    select kind, subject from revocations where expires_at < now() order by expires_at limit $1 for update skip locked
)
