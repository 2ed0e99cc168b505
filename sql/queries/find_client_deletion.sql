-- Finds a recent deletion of the client, so that a repeated request publishes it again.
select min_generation from revocations where kind = 'client' and subject_id = $1 and reason = $2
