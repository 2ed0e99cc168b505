-- Whether this token was taken back before.
select from revocations where kind = 'token' and subject = $1
