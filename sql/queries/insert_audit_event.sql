-- In the transaction of the change: either both are committed, or neither. The time is that of the ID.
insert into audit_events (
    id, at, event, outcome, subject_id, actor_id, actor, session_id, ip_address, user_agent, reason
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::inet, $10, $11)
