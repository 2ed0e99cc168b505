-- Applications behind a proxy: browsers sign in to them with a cookie of their own.
create table applications (
    id uuid not null,
    -- Normalized; `https://*.example.net` means every host with one more label.
    origin text not null,
    -- What a user needs; empty means that every signed-in user is allowed.
    role text,
    scope text not null default '',
    groups text[] not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint applications_pkey primary key (id),
    constraint applications_origin unique (origin),
    constraint applications_role check (role in ('user', 'admin'))
);
