-- In the transaction of what it tells, so that both stand or neither. The time is the one in the id.
insert into audit (id, at, event, outcome, user_id, actor_id, actor, sid, address, agent, reason)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
