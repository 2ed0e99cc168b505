delete from items where user_id = $1 and id = $2 and ($3::bigint[] is null or version = any($3)) returning id
