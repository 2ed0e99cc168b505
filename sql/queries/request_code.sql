-- One statement, with the same work, for known and unknown addresses. The row of an unknown address belongs to a decoy
-- user ($4), has no recipient, and passes through the mail worker like any other.
insert into email_outbox (id, template, user_id, recipient, ip_address, user_agent, priority)
select $1, $2, coalesce(u.id, $4), u.email, $5::text::inet, $6, $7
from (select 1) one
left join users u on lower(u.email collate "C") = lower($3 collate "C") and not u.disabled
returning case when recipient is not null then user_id end
