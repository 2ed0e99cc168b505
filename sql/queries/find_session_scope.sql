select scope from sessions where user_id = $1 and sid = $2
