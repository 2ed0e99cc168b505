-- One statement for known and unknown addresses alike, and the same work: the row of an unknown one belongs to nobody
-- ($4), has no recipient, and goes its way through the worker all the same.
insert into outbox (id, template, user_id, recipient, ip_address, user_agent)
select $1, $2, coalesce(u.id, $4), u.email, $5, $6
from (select 1) one
left join users u on lower(u.email collate "C") = lower($3 collate "C") and not u.disabled
returning case when recipient is not null then user_id end
