-- A deleted session counts as revoked. The session can be expired.
select from sessions where user_id = $1 and id = $2 and revoked_at is null
