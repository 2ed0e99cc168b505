-- Returns the user of a recently revoked token, so that a repeated request publishes the revocation again.
select user_id from revocations where kind = 'token' and subject_id = $1 and user_id is not null
