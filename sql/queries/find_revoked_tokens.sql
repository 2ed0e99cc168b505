-- Checks tokens while neither memory nor Redis can, and returns those that are revoked. A token of a deleted session,
-- user, or OAuth client is revoked. A token without a session belongs to an OAuth client.
select checked.jti
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[]) as checked (sub, sid, jti, generation, kid)
left join users on users.id = checked.sub and checked.sid is not null
left join sessions on sessions.id = checked.sid
left join oauth_clients on oauth_clients.id = checked.sub and checked.sid is null
where
    case when checked.sid is null
        then oauth_clients.id is null or oauth_clients.generation > checked.generation
        else users.id is null or users.disabled or users.generation > checked.generation
            or sessions.id is null or sessions.revoked_at is not null
    end
    or exists (
        -- A join looks each subject up by the primary key; `in` with a list of pairs would scan the table.
        select from (
            values ('session', checked.sid::text), ('token', checked.jti::text), ('key', checked.kid),
                ('user', checked.sub::text), ('client', checked.sub::text)
        ) as subjects (kind, subject_id)
        join revocations using (kind, subject_id)
        where min_generation is null or min_generation > checked.generation
    )
