-- Every username and email address that a user has, or had until recently. Tokens assert a name until they expire, so a
-- released one stays reserved: another user would be mistaken for the previous one. Only hashes are stored, because the
-- deletion of a user erases the names.
create table reserved_names (
    -- SHA-256 of the kind and the name in lower case.
    hash bytea not null,
    -- The user who has the name, or had it last.
    user_id uuid not null,
    -- Null while the user has the name.
    reserved_until timestamptz,
    constraint reserved_names_pkey primary key (hash)
);

create index reserved_names_released on reserved_names (reserved_until) where reserved_until is not null;

create function name_hash(kind text, name text) returns bytea
language sql immutable strict set search_path from current
as $body$
    select sha256(convert_to(kind || ' ' || lower(name collate "C"), 'UTF8'))
$body$;

-- Assigns a name to a user. A name of another user, or one that is still reserved for its previous user, violates the
-- unique constraint.
create function take_name(kind text, name text, id uuid) returns void
language plpgsql set search_path from current
as $body$
begin
    if name is null then
        return;
    end if;
    insert into reserved_names as held (hash, user_id) values (name_hash(kind, name), id)
    on conflict (hash) do update set user_id = excluded.user_id, reserved_until = null
    where held.user_id = excluded.user_id or held.reserved_until < now();
    if not found then
        raise exception using
            errcode = 'unique_violation',
            message = 'the ' || kind || ' is in use or reserved',
            constraint = 'users_' || kind || '_key';
    end if;
end
$body$;

-- Keeps `reserved_names` up to date. `latchkey.name_reservation` contains the duration of a reservation. An email
-- address that was never verified isn't reserved, because it can belong to another person.
create function reserve_names() returns trigger
language plpgsql set search_path from current
as $body$
declare
    reservation interval :=
        coalesce(nullif(current_setting('latchkey.name_reservation', true), ''), '90 days');
    kept bytea[] := array[]::bytea[];
begin
    if tg_op <> 'DELETE' then
        perform take_name('username', new.username, new.id);
        perform take_name('email', new.email, new.id);
        kept := array_remove(
            array[name_hash('username', new.username), name_hash('email', new.email)], null
        );
    end if;
    if tg_op <> 'INSERT' then
        if not old.email_verified then
            delete from reserved_names
            where hash = name_hash('email', old.email) and user_id = old.id and hash <> all(kept);
        end if;
        update reserved_names set reserved_until = now() + reservation
        where hash in (name_hash('username', old.username), name_hash('email', old.email))
            and user_id = old.id and hash <> all(kept);
    end if;
    return null;
end
$body$;

-- Other roles of the database must not assign names.
revoke execute on function name_hash(text, text), take_name(text, text, uuid), reserve_names() from public;

-- The triggers lock the table until the commit, so no change is missed before the names of all users are inserted.
create trigger reserve_names_of_new_user after insert on users
for each row execute function reserve_names();

create trigger reserve_changed_names after update of username, email on users
for each row when (old.username is distinct from new.username or old.email is distinct from new.email)
execute function reserve_names();

create trigger reserve_names_of_deleted_user after delete on users
for each row execute function reserve_names();

insert into reserved_names (hash, user_id)
select name_hash('username', username), id from users where username is not null
union all
select name_hash('email', email), id from users where email is not null;
