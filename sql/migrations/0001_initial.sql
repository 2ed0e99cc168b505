-- IDs are UUIDs of version 7. The server creates them, and they sort by creation time.

create table users (
    id uuid not null,
    username text,
    email text,
    email_verified boolean not null default false,
    password_hash text not null,
    name text,
    role text not null default 'user',
    disabled boolean not null default false,
    -- Incremented when all sessions and tokens of the user are revoked. Tokens of a smaller generation are rejected.
    generation bigint not null default 1,
    -- Incremented when a claim of the user's tokens changes. Of two copies, the one with the larger version is newer.
    identity_version bigint not null default 1,
    -- Time of the last such change; null if nothing has changed since the registration.
    identity_changed_at timestamptz,
    created_at timestamptz not null default now(),
    constraint users_pkey primary key (id),
    constraint users_role check (role in ('user', 'admin')),
    constraint users_username_or_email check (username is not null or email is not null)
);

-- Both columns contain ASCII only, so the "C" collation folds them alike on every server.
create unique index users_username_key on users (lower(username collate "C"));
create unique index users_email_key on users (lower(email collate "C"));
create index users_identity_changed on users (identity_changed_at) where identity_changed_at is not null;

create table sessions (
    id uuid not null,
    user_id uuid not null,
    -- Generation of the user at sign-in.
    generation bigint not null,
    client_id text not null,
    scope text not null,
    created_at timestamptz not null,
    -- End of the maximum lifetime.
    expires_at timestamptz not null,
    -- Network address of the last use, and user agent of the sign-in.
    ip_address inet,
    user_agent text,
    -- Number of rotations, at most a second late. The server restores sessions that Redis has lost from this row.
    rotation_counter bigint not null default 0,
    -- Last rotation of the refresh token, or last renewal of the session cookie.
    last_used_at timestamptz not null default now(),
    revoked_at timestamptz,
    revoked_reason text,
    constraint sessions_pkey primary key (id),
    constraint sessions_user_id_fkey foreign key (user_id) references users (id) on delete cascade,
    constraint sessions_revoked check ((revoked_at is null) = (revoked_reason is null))
);

create index sessions_active on sessions (user_id, id) where revoked_at is null;
create index sessions_of_user on sessions (user_id);
create index sessions_expired on sessions (coalesce(revoked_at, expires_at));

create table personal_access_tokens (
    id uuid not null,
    user_id uuid not null,
    -- Generation of the user when the token was created. If the two differ, the token is revoked.
    generation bigint not null,
    name text not null,
    -- SHA-256 of a random secret of 256 bits.
    secret_hash bytea not null,
    scope text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    -- At most eleven minutes late.
    last_used_at timestamptz,
    constraint personal_access_tokens_pkey primary key (id),
    constraint personal_access_tokens_user_id_fkey foreign key (user_id) references users (id) on delete cascade
);

create index personal_access_tokens_of_user on personal_access_tokens (user_id, id);
create index personal_access_tokens_expired on personal_access_tokens (expires_at);

-- The user comes first in the key, so that items can be distributed by user.
create table items (
    user_id uuid not null,
    id uuid not null,
    name text not null,
    description text,
    -- Entity tag; incremented by each change.
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint items_pkey primary key (user_id, id),
    constraint items_user_id_fkey foreign key (user_id) references users (id) on delete cascade
);

-- Confidential OAuth clients.
create table oauth_clients (
    id uuid not null,
    name text not null,
    -- SHA-256 of a random secret of 256 bits. A fast hash is sufficient, because the secret can't be guessed.
    secret_hash bytea not null,
    scope text not null,
    -- Allowed audiences; the first one is the default.
    audiences text[] not null,
    -- Incremented when all tokens of the client are revoked. Tokens of a smaller generation are rejected.
    generation bigint not null default 1,
    created_at timestamptz not null default now(),
    -- Creation time of the secret.
    rotated_at timestamptz not null default now(),
    constraint oauth_clients_pkey primary key (id),
    constraint oauth_clients_audiences check (cardinality(audiences) > 0)
);

-- The state of a key follows from these times (`crates/domain/src/key_schedule.rs`).
create table signing_keys (
    kid text not null,
    public_key bytea not null,
    -- AES-256-GCM with a key derived from LATCHKEY_SECRET, bound to the kid.
    sealed_private_key bytea not null,
    created_at timestamptz not null default now(),
    -- Until this time the key is published and does not sign.
    signs_from timestamptz not null default now(),
    revoked_at timestamptz,
    constraint signing_keys_pkey primary key (kid)
);

-- Revocations, until the tokens that they concern have expired. A revocation is committed here first, in the
-- transaction that causes it. Then a replica publishes it in Redis.
create table revocations (
    kind text not null,
    -- ID of the session, user, token, OAuth client, or signing key.
    subject_id text not null,
    -- Owner of the subject; null for OAuth clients and signing keys. No reference: the row outlives the user.
    user_id uuid,
    -- For users and OAuth clients: tokens of a smaller generation are rejected.
    min_generation bigint,
    reason text not null,
    revoked_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint revocations_pkey primary key (kind, subject_id),
    constraint revocations_kind check (kind in ('session', 'user', 'token', 'key', 'client')),
    constraint revocations_min_generation check ((min_generation is not null) = (kind in ('user', 'client')))
);

-- Pages of revocations are read in this order.
create index revocations_recent on revocations (revoked_at, kind, subject_id);
create index revocations_expired on revocations (expires_at);

-- Transactional outbox. A row without a recipient results from a request for an unknown email address: the server does
-- the same work for it and sends no email. No reference to users: the check would take longer for a known address.
create table email_outbox (
    id uuid not null,
    template text not null,
    user_id uuid,
    recipient text,
    -- IP address and browser of the request for a code. The email contains both, so that the user can recognize the
    -- request.
    ip_address inet,
    user_agent text,
    created_at timestamptz not null default now(),
    next_attempt_at timestamptz not null default now(),
    attempts integer not null default 0,
    -- Set before the first attempt; the lifetime of the code starts here.
    first_sent_at timestamptz,
    sent_at timestamptz,
    -- Set when the code is used or invalidated.
    consumed_at timestamptz,
    -- Set in addition when the code is invalidated, for example by a password change.
    invalidated_at timestamptz,
    constraint email_outbox_pkey primary key (id)
);

create index email_outbox_due on email_outbox (next_attempt_at) where sent_at is null and consumed_at is null;
create index email_outbox_of_user on email_outbox (user_id) where user_id is not null;
create index email_outbox_expired on email_outbox (coalesce(sent_at, consumed_at));

-- Append-only. Only `count` changes: similar failures within a minute share one row.
create table audit_events (
    id uuid not null,
    at timestamptz not null,
    event text not null,
    outcome text not null,
    -- Affected user or OAuth client. No reference: the event outlives its subject.
    subject_id uuid,
    -- User or OAuth client that caused the event; null for the operator, the server, and unauthenticated callers.
    actor_id uuid,
    actor text not null,
    session_id uuid,
    -- Address of the caller; for failures, its network.
    ip_address inet,
    user_agent text,
    reason text,
    count bigint not null default 1,
    constraint audit_events_pkey primary key (at, id),
    constraint audit_events_outcome check (outcome in ('success', 'failure')),
    constraint audit_events_actor check (actor in ('user', 'admin', 'client', 'operator', 'server', 'unauthenticated'))
) partition by range (at);

-- Includes rows without a subject, because writing them must not be faster than writing the others.
create index audit_events_of_subject on audit_events (subject_id, id);

-- Each month has a partition (audit_events_2026_11), created in advance. Other rows are stored here.
create table audit_events_default partition of audit_events default;

-- One row: settings that all replicas share.
create table settings (
    only_row boolean not null default true,
    issuer text not null,
    -- Longest lease that was ever in force, in milliseconds; null before the first one. A replica that rebuilds the
    -- revocation log waits until a lease of this length has expired.
    max_lease_ms bigint,
    constraint settings_pkey primary key (only_row),
    constraint settings_only_row check (only_row)
);
