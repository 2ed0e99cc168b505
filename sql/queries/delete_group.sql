delete from groups where name = $1
