-- Stores the issuer of the first replica and an ID of the database, and returns the stored ones.
insert into settings (issuer, database_id) values ($1, gen_random_uuid())
on conflict on constraint settings_pkey
    do update set database_id = coalesce(settings.database_id, excluded.database_id)
returning issuer, database_id
