-- One statement for known and unknown addresses alike: a row is written in any case, but one without a recipient counts
-- as sent.
insert into outbox (id, template, user_id, recipient, sent_at)
select $1, $2, u.id, u.email, case when u.id is null then now() end
from (select 1) one
left join users u on lower(u.email collate "C") = lower($3 collate "C") and not u.disabled
returning user_id
