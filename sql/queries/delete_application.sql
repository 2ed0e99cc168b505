delete from applications where id = $1 returning id
