delete from personal_access_tokens where user_id = $1 and id = $2 returning id
