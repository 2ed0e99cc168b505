-- The republish worker reads recent changes in pages, sorted by both columns.
create index users_identity_changes on users (identity_changed_at, id) where identity_changed_at is not null;
-- A change of a user locks all administrators, so that one remains.
create index users_admins on users (id) where role = 'admin';
-- Last, because it blocks readers until the migration is committed.
drop index users_identity_changed;
