-- One statement, with the same work, for every address. A user who has verified the address ($3) gets a notice ($5); a
-- disabled one gets nothing. Otherwise, the address gets a code ($2). Its row belongs to the subject of the address
-- ($4), because there is no user yet.
insert into email_outbox (id, template, user_id, recipient, ip_address, user_agent, priority)
select $1, case when u.id is null then $2 else $5 end, coalesce(u.id, $4),
    case when u.id is null then $3 when not u.disabled then u.email end, $6::text::inet, $7,
    case when u.id is null then $8::smallint else $9::smallint end
from (select 1) one
left join users u on lower(u.email collate "C") = lower($3 collate "C") and u.email_verified
returning case when template = $5 then user_id end
