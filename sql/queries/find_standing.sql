-- What the record says of tokens that are checked while memory and Redis cannot tell: which of them are refused. A session,
-- a user or a client that is gone has taken its tokens along. A token without a session is of a client.
select asked.jti
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[]) as asked (sub, sid, jti, gen, kid)
left join users on users.id = asked.sub and asked.sid is not null
left join sessions on sessions.sid = asked.sid
left join clients on clients.id = asked.sub and asked.sid is null
where
    case when asked.sid is null
        then clients.id is null or clients.gen > asked.gen
        else users.id is null or users.disabled or users.gen > asked.gen
            or sessions.sid is null or sessions.ended_at is not null
    end
    or exists (
        -- Joined, not `in`: each subject is looked up by the key, where a list of pairs would read the whole table.
        select from (
            values ('session', asked.sid::text), ('token', asked.jti::text), ('key', asked.kid),
                ('user', asked.sub::text), ('client', asked.sub::text)
        ) as wanted (kind, subject)
        join revocations using (kind, subject)
        where below is null or below > asked.gen
    )
