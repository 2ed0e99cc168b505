select count(*) from items where user_id = $1
