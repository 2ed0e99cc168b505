-- Redis may lose a session: these bring it back.
alter table sessions
    -- How often it was refreshed, at most a second late.
    add column counter bigint not null default 0,
    -- The last refresh, or the last slide of a cookie.
    add column refreshed_at timestamptz not null default now();

-- What is deleted with a user is found by it.
create index sessions_of_user on sessions (user_id);
create index sessions_over on sessions (coalesce(ended_at, ends_at));

-- To look for the account that a mail belongs to takes time, which told whoever asked for a code that there is one.
alter table outbox drop constraint outbox_user_id_fkey;

alter table outbox
    -- When the code of this mail was made void by something else; consumed_at says so, too.
    add column voided_at timestamptz;

-- Mails that nobody needs any more, the oldest first.
create index outbox_over on outbox (coalesce(sent_at, consumed_at));

alter table users
    -- The last change of what goes into tokens; null where nothing has changed since the sign-up.
    add column identity_changed_at timestamptz;

create index users_changed on users (identity_changed_at) where identity_changed_at is not null;

-- What was taken back, until every token that it concerns is dead. Written with what it takes back, in one transaction;
-- Redis is told afterwards, by whoever did it or by any replica that finds it missing there.
create table revocations (
    kind text not null,
    -- The session, the user or the token.
    subject text not null,
    -- Whose it was. No reference: the entry outlives the account.
    user_id uuid not null,
    -- Of a user: tokens with a smaller generation are refused.
    below bigint,
    reason text not null,
    revoked_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint revocations_pkey primary key (kind, subject),
    constraint revocations_kind check (kind in ('session', 'user', 'token')),
    constraint revocations_below check ((below is not null) = (kind = 'user'))
);

create index revocations_recent on revocations (revoked_at);
create index revocations_over on revocations (expires_at);

-- What happened, for the people it happened to and for administrators. Nothing in it is ever changed but the count of
-- failed sign-ins, which are one row for each account, address and minute.
create table audit (
    -- A uuid v7: by time.
    id uuid not null,
    at timestamptz not null,
    event text not null,
    outcome text not null,
    -- Whose account. No reference: what happened outlives the account.
    user_id uuid,
    -- Who did it: the account itself, another account, or nobody that has one (a stranger, the operator, the gateway).
    actor_id uuid,
    actor text not null,
    sid uuid,
    address text,
    agent text,
    -- Why, in a word of the gateway's.
    reason text,
    -- How often, where it is one row for a minute.
    count bigint not null default 1,
    constraint audit_pkey primary key (at, id),
    constraint audit_outcome check (outcome in ('success', 'failure')),
    constraint audit_actor check (actor in ('user', 'admin', 'operator', 'gateway', 'stranger'))
) partition by range (at);

-- Also of nobody's: a row without an account must not be written faster than one with.
create index audit_of_user on audit (user_id, id);

-- Months have partitions of their own, audit_2026_11 and so on, made ahead at the start and by the janitor; what has none
-- is here, and nothing is lost.
create table audit_default partition of audit default;
