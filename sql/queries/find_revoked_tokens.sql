-- Checks tokens while neither memory nor Redis can, and returns those that are revoked. A token of a deleted session,
-- user, or OAuth client is revoked. A token without a session belongs to an OAuth client.
select checked.jti
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[]) as checked (subject_id, session_id, jti, generation, kid)
left join users on users.id = checked.subject_id and checked.session_id is not null
left join sessions on sessions.id = checked.session_id
left join oauth_clients on oauth_clients.id = checked.subject_id and checked.session_id is null
where
    case when checked.session_id is null
        then oauth_clients.id is null or oauth_clients.generation > checked.generation
        else users.id is null or users.disabled or users.generation > checked.generation
            or sessions.id is null or sessions.revoked_at is not null
    end
    or exists (
        -- A join looks each subject up by the primary key; `in` with a list of pairs would scan the table.
        select from (
            values ('session', checked.session_id::text), ('token', checked.jti::text), ('key', checked.kid),
                ('user', checked.subject_id::text), ('client', checked.subject_id::text)
        ) as subjects (kind, subject_id)
        join revocations using (kind, subject_id)
        where min_generation is null or min_generation > checked.generation
    )
