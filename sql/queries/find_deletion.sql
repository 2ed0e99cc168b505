-- Whether this account was deleted a while ago: a repeat then publishes what the first could not.
select below from revocations where kind = 'user' and subject = $1 and reason = $2
