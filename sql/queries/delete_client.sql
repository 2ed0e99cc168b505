delete from clients where id = $1 returning gen
