-- With the account: whoever remembers one is to be told of it.
delete from personal_tokens where user_id = $1 returning id
