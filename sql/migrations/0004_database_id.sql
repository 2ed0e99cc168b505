-- Identifies this database in the keys of Redis. The first start sets it, so that a copy of an empty database gets an ID of
-- its own.
alter table settings add column database_id uuid;
