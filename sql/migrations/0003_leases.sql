-- Keys can be taken back as well, and belong to nobody.
alter table revocations drop constraint revocations_kind;
alter table revocations add constraint revocations_kind check (kind in ('session', 'user', 'token', 'key'));
alter table revocations alter column user_id drop not null;

alter table settings
    -- The longest lease that was ever in force, in ms: whoever builds the revocation log anew waits until one of that
    -- length must be over, whoever holds it. Null: there was none yet.
    add column longest_lease bigint;

-- Pages of what was taken back, in the order in which they are read; an index of the moment alone sorts all that share one.
drop index revocations_recent;
create index revocations_recent on revocations (revoked_at, kind, subject);
