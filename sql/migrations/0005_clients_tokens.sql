-- OAuth clients: services that have tokens for themselves.
create table clients (
    id uuid not null,
    -- For people.
    name text not null,
    -- SHA-256 of 256 random bits: nobody guesses those, so nothing slower is needed.
    secret_hash bytea not null,
    scope text not null,
    -- Whom its tokens may be for. The first one is meant where it does not say.
    audiences text[] not null,
    -- Raised by everything that ends all of its tokens.
    gen bigint not null default 1,
    created_at timestamptz not null default now(),
    -- When the secret was made.
    rotated_at timestamptz not null default now(),
    constraint clients_pkey primary key (id),
    constraint clients_audiences check (cardinality(audiences) > 0)
);

-- Personal access tokens: what programs of a user's sign in with. One whose generation is not its user's is over.
create table personal_tokens (
    id uuid not null,
    user_id uuid not null references users (id) on delete cascade,
    gen bigint not null,
    -- For people.
    name text not null,
    -- SHA-256 of 256 random bits.
    secret_hash bytea not null,
    scope text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    -- Eleven minutes late at most.
    last_used_at timestamptz,
    constraint personal_tokens_pkey primary key (id)
);

create index personal_tokens_of_user on personal_tokens (user_id, id);
create index personal_tokens_over on personal_tokens (expires_at);

-- Everything of a client can be taken back, as everything of a user can.
alter table revocations drop constraint revocations_kind;
alter table revocations add constraint revocations_kind
    check (kind in ('session', 'user', 'token', 'key', 'client'));
alter table revocations drop constraint revocations_below;
alter table revocations add constraint revocations_below
    check ((below is not null) = (kind in ('user', 'client')));

-- Clients do things for themselves. Not valid: the rows that are there hold fewer words, and to read a year of them would
-- keep everybody from signing in meanwhile.
alter table audit drop constraint audit_actor;
alter table audit add constraint audit_actor
    check (actor in ('user', 'admin', 'client', 'operator', 'gateway', 'stranger')) not valid;
