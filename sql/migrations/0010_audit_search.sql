-- Administrators search the events of all users. An index that exists on a partition already isn't built again, so that
-- an operator can build the indexes of large partitions concurrently, before the upgrade.
create index audit_events_of_actor on audit_events (actor_id, id) where actor_id is not null;
create index audit_events_of_address on audit_events (ip_address, id) where ip_address is not null;
create index audit_events_of_kind on audit_events (event, id);
