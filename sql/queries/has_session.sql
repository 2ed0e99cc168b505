select sid from sessions where user_id = $1 and sid = $2
