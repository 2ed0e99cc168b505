select name, description, created_at from groups where name = $1
