-- Groups that administrators create. An application can require that its users are in one of them.
create table groups (
    name text not null,
    description text,
    created_at timestamptz not null default now(),
    constraint groups_pkey primary key (name)
);

-- The names of the groups of a user, sorted and without duplicates. They are a column of the user, because every token
-- contains them. A transaction that writes a name locks its group, so that every name exists in `groups`.
alter table users add column groups text[] not null default '{}';

-- The members of a group. Users without groups don't need it, so writing them costs nothing more.
create index users_groups on users using gin (groups) where groups <> '{}';
