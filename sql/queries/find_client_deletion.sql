-- Whether this client was deleted a while ago: a repeat then publishes what the first could not.
select below from revocations where kind = 'client' and subject = $1 and reason = $2
