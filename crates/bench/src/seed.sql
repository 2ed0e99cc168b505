-- Rows that the benchmark reads and changes. seed.rs replaces the placeholders in capitals.
insert into settings (issuer, database_id) values ('$ISSUER', '00000000-0000-0000-0000-000000000000');

insert into users (id, username, email, password_hash, email_verified, name)
select ('00000000000070008000' || n)::uuid, 'user-' || n, 'user-' || n || '@example.com', '$HASH', true, 'John Doe'
from generate_series($FIRST, $LAST) n;

insert into sessions (id, user_id, generation, client_id, scope, created_at, expires_at, ip_address, user_agent)
select (prefix || n)::uuid, ('00000000000070008000' || n)::uuid, 1, client, 'user:read user:write items:read items:write',
    now(), now() + interval '$DAYS days', inet '127.0.0.1', 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0'
from generate_series($FIRST, $LAST) n,
    (values ('0000000000007000a000', 'latchkey'), ('0000000000007000b000', 'latchkey-browser')) as kinds (prefix, client);

-- The secret of a token is derived from the secret of the run.
insert into personal_access_tokens (id, user_id, generation, name, secret_hash, scope, expires_at)
select ('0000000000007000c000' || n)::uuid, ('00000000000070008000' || n)::uuid, 1, 'job',
    sha256(sha256(convert_to('$SECRET' || n, 'UTF8'))), 'user:read items:read', now() + interval '$DAYS days'
from generate_series($FIRST, $LAST) n;

insert into items (user_id, id, name, description)
select ('00000000000070008000' || n)::uuid, ('00000000000070009000' || $ZERO + (n - $ZERO) * 100 + item)::uuid, 'Book', 'A nice book'
from generate_series($FIRST, $LAST) n, generate_series(1, $ITEMS) item
where item = 1 or n <= $WITH_PAGES;
