-- Whether a personal access token with this ID exists, or was revoked recently.
select 1 from personal_access_tokens where id = $1::uuid
union all
select 1 from revocations where kind = 'token' and subject_id = $1::uuid::text
