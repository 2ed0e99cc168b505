-- What the bench reads and changes. Numbers in capitals are those of seed.rs.
insert into users (id, username, email, password_hash, email_verified, name)
select ('00000000000070008000' || n)::uuid, 'user-' || n, 'user-' || n || '@example.com', '$HASH', true, 'John Doe'
from generate_series($FIRST, $LAST) n;

insert into sessions (sid, user_id, gen, client_id, scope, created_at, ends_at, address, agent)
select (prefix || n)::uuid, ('00000000000070008000' || n)::uuid, 1, client, 'user:read user:write items:read items:write',
    now(), now() + interval '$DAYS days', '127.0.0.1', 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0'
from generate_series($FIRST, $LAST) n,
    (values ('0000000000007000a000', 'latchkey'), ('0000000000007000b000', 'latchkey-browser')) as kinds (prefix, client);

-- What is hashed there is the secret of a token, which is made of the secret of the run.
insert into personal_tokens (id, user_id, gen, name, secret_hash, scope, expires_at)
select ('0000000000007000c000' || n)::uuid, ('00000000000070008000' || n)::uuid, 1, 'job',
    sha256(sha256(convert_to('$SECRET' || n, 'UTF8'))), 'user:read items:read', now() + interval '$DAYS days'
from generate_series($FIRST, $LAST) n;

insert into items (owner_id, id, name, description)
select ('00000000000070008000' || n)::uuid, ('00000000000070009000' || $ZERO + (n - $ZERO) * 100 + item)::uuid, 'Book', 'A nice book'
from generate_series($FIRST, $LAST) n, generate_series(1, $ITEMS) item
where item = 1 or n <= $WITH_PAGES;
