-- Whose it was, if it was deleted a while ago: a repeat then publishes what the first could not.
select user_id from revocations where kind = 'token' and subject = $1 and user_id is not null
