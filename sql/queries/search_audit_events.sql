-- Newest first; IDs sort by time. The most selective filter reads its own index: the subject ($1), else the actor ($2),
-- else the IP address ($3) with its network ($4), else the kinds ($5), else the time ($6, $8). A null filter selects all
-- events. The other filters apply to the 10,000 newest events of that index, so that a page has a bounded cost; "last"
-- is then the ID of the last one, and the next page continues there. Without other filters, one row more than a page
-- suffices. One row has no event if none matches.
with examined as materialized (
    (
        select * from audit_events
        where subject_id = $1::uuid and id >= $7 and id < $9
        order by id desc limit 10000
    )
    union all
    (
        select * from audit_events
        where $1 is null and actor_id = $2::uuid and id >= $7 and id < $9
        order by id desc limit 10000
    )
    union all
    (
        select * from (
            (
                select * from audit_events
                where $1 is null and $2 is null and ip_address = $3::text::inet and id >= $7 and id < $9
                order by id desc limit 10000
            )
            union all
            (
                select * from audit_events
                where $1 is null and $2 is null and ip_address = $4::text::inet and id >= $7 and id < $9
                order by id desc limit 10000
            )
        ) as of_address
        order by id desc limit 10000
    )
    union all
    (
        select of_kind.*
        from unnest($5::text[]) as kind
        cross join lateral (
            select * from audit_events
            where $1 is null and $2 is null and $3 is null and event = kind and id >= $7 and id < $9
            order by id desc limit 101
        ) as of_kind
        order by of_kind.id desc limit 101
    )
    union all
    (
        select * from audit_events
        where $1 is null and $2 is null and $3 is null and $5 is null
            and at >= $6 and (at, id) < ($8::timestamptz, $9::uuid)
        order by at desc, id desc limit 101
    )
)
select page.last, found.*
from (
    select case when count(*) >= 10000 then (select id from examined order by id limit 1) end as last from examined
) as page
left join lateral (
    select
        id, at, event, outcome, subject_id, actor, actor_id, session_id, abbrev(ip_address) as ip_address, user_agent,
        reason, count
    from examined
    where ($2 is null or actor_id = $2)
        and ($3 is null or ip_address = $3::text::inet or ip_address = $4::text::inet)
        and ($5 is null or event = any($5))
    order by id desc
    limit $10
) as found on true
order by found.id desc
