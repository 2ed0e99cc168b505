-- To an address that is not the account's: not yet, or no more. Whether it is taken is decided when it is confirmed.
insert into outbox (id, template, user_id, recipient) values ($1, $2, $3, $4)
