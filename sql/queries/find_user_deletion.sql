-- Finds a recent deletion of the user, so that a repeated request publishes it again.
select min_generation from revocations where kind = 'user' and subject_id = $1 and reason = $2
