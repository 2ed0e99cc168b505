-- The settings that the first replica stored; no row before the first start.
select issuer, database_id from settings where database_id is not null
