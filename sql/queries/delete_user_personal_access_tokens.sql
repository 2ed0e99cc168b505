-- Returns the IDs, because replicas that have cached a token must be notified.
delete from personal_access_tokens where user_id = $1 returning id
