-- Nothing is mailed to whoever is gone.
delete from outbox where user_id = $1
