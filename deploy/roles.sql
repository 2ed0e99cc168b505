-- Creates two roles: latchkey_owner for migrations, latchkey for servers. The role latchkey can't create, change, or
-- drop tables, so an attacker with the DATABASE_URL of a server can't either.
--
-- Run it once as a superuser, in the new database, and set both passwords with `\password ROLE`:
--     createdb --encoding UTF8 --template template0 latchkey
--     psql latchkey -f deploy/roles.sql
-- Then run this before the first start and before each update. Servers use the role latchkey.
--     DATABASE_URL=postgres://latchkey_owner:PASSWORD@HOST/latchkey latchkey migrate

create role latchkey_owner login;
create role latchkey login;
-- Databases that were created before PostgreSQL 15 let every role create objects.
revoke create on schema public from public;
grant usage, create on schema public to latchkey_owner;
grant usage on schema public to latchkey;
-- The history of migrations, as the migrations create it. Servers only read it.
set role latchkey_owner;
create table refinery_schema_history (
    version int4 primary key,
    name varchar(255),
    applied_on varchar(255),
    checksum varchar(255)
);
grant select on refinery_schema_history to latchkey;
reset role;
-- For all tables and functions that migrations create.
alter default privileges for role latchkey_owner in schema public
    grant select, insert, update, delete on tables to latchkey;
alter default privileges for role latchkey_owner in schema public
    grant execute on functions to latchkey;
