-- Identifiers are uuid v7, made by the gateway: they sort by time, and a row's id is known before it is written.

create table users (
    id uuid not null,
    username text,
    email text,
    password_hash text not null,
    role text not null default 'user',
    -- Raised by everything that ends all of a user's sessions; tokens with a smaller one are refused.
    gen bigint not null default 1,
    -- Raised with every change of what goes into tokens, so that of two copies the newer is known.
    identity_version bigint not null default 1,
    disabled boolean not null default false,
    email_verified boolean not null default false,
    name text,
    created_at timestamptz not null default now(),
    constraint users_pkey primary key (id),
    constraint users_role check (role in ('user', 'admin')),
    constraint users_named check (username is not null or email is not null)
);

-- Both hold ASCII only, so that the "C" collation folds them alike on every server.
create unique index users_username_key on users (lower(username collate "C"));
create unique index users_email_key on users (lower(email collate "C"));

create table sessions (
    sid uuid not null,
    user_id uuid not null references users (id) on delete cascade,
    gen bigint not null,
    client_id text not null,
    scope text not null,
    created_at timestamptz not null,
    ends_at timestamptz not null,
    address text,
    agent text,
    ended_at timestamptz,
    -- Why it ended, for the person who asks.
    ended_by text,
    constraint sessions_pkey primary key (sid),
    constraint sessions_ended check ((ended_at is null) = (ended_by is null))
);

create index sessions_live on sessions (user_id, sid) where ended_at is null;

-- The owner comes first in the key, so that items can be distributed by owner.
create table items (
    owner_id uuid not null references users (id) on delete cascade,
    id uuid not null,
    name text not null,
    description text,
    -- The entity tag; raised with every change.
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint items_pkey primary key (owner_id, id)
);

create table signing_keys (
    kid text not null,
    public_key bytea not null,
    -- AES-256-GCM under a key derived from LATCHKEY_SECRET; the kid is bound to it.
    sealed_private_key bytea not null,
    created_at timestamptz not null default now(),
    constraint signing_keys_pkey primary key (kid)
);

-- Mails that were promised. A row without a recipient is the trace of a request for an unknown address: the same work
-- was done for it, and no mail is sent.
create table outbox (
    id uuid not null,
    template text not null,
    user_id uuid references users (id) on delete cascade,
    recipient text,
    created_at timestamptz not null default now(),
    next_attempt_at timestamptz not null default now(),
    attempts integer not null default 0,
    -- Written before the first sending: the lifetime of a code counts from here.
    first_sent_at timestamptz,
    sent_at timestamptz,
    -- When the code of this mail was used.
    consumed_at timestamptz,
    constraint outbox_pkey primary key (id)
);

create index outbox_due on outbox (next_attempt_at) where sent_at is null and consumed_at is null;
create index outbox_of_user on outbox (user_id) where user_id is not null;

-- One row: what all replicas must agree on.
create table settings (
    only_row boolean not null default true,
    issuer text not null,
    constraint settings_pkey primary key (only_row),
    constraint settings_only_row check (only_row)
);
