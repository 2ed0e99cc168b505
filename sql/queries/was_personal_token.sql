-- It was deleted a while ago, and may be deleted again.
select from revocations where kind = 'token' and subject = $2::uuid::text and user_id = $1
