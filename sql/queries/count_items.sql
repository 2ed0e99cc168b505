select count(*) from items where owner_id = $1
