//! One binary with all black-box tests: real gateways over real sockets, with real PostgreSQL and
//! Redis.
//!
//! Each test has a database and a key prefix of its own, so all run in parallel. Those that break a
//! store bring one of their own. Every answer that any test sees is compared with the document
//! (`server.rs`).

// What the tests stand on.
mod contract; // every answer is documented
mod deployed; // proxies as `deploy/` configures them
mod leaks; // where a secret could have been left
mod loopback; // where programs listen that are started later
mod mail; // a real SMTP server
mod program; // commands of the binary, each run until it ends
mod proxy; // a socket that can be cut
mod raw_http;
mod test_server; // a running gateway, one verb per method
mod test_stores; // the stores, and a fresh database for each test
mod token_signer; // tokens that the gateway never issued
mod tools; // programs from PyPI and npm // bytes that no client would send

// What people do.
mod browser; // the cookie: in, out, sliding, other sites, and a real browser
mod current_user; // GET, PATCH and DELETE /user, password, dashboard
mod email_addresses; // verifying and changing the e-mail address
mod generated; // clients that public generators make of the document
mod items; // create, read, update, delete, pages, lost updates
mod oauth; // tokens issued, looked at and given back, by us and by clients that nobody here wrote
mod oauth_clients; // OAuth clients, for administrators
mod operator; // `latchkey user …`
mod password_reset; // forgot and reset, by mail
mod personal_access_tokens; // what programs of a user's sign in with
mod refresh; // rotation and reuse
mod sessions; // my sessions, and ending one
mod sign_in; // sign-up, sign-in, what is refused
mod sign_out; // logout means logout, on a second replica too
mod users; // administrators and whom they administer

// What they bring along: the five systems that this one replaces.
mod migrating_from_fastapi_jwt_crud;
mod migrating_from_fastapi_oauth2;
mod migrating_from_fastapi_scratch;
mod migrating_from_fastapi_task;
mod migrating_from_flask_cookie;

// What must hold.
mod audit; // every security event is recorded, with its change, and shown to nobody else
mod bad_input; // every bad body is a 4xx that names the member, never the value
// Replicas have loopback addresses of their own, which other systems do not have.
mod architecture; // the invariants of lib.rs, read from the source
#[cfg(target_os = "linux")]
mod balancer; // three replicas behind the real nginx and the real HAProxy
mod batching; // many callers, one statement, and each its own answer
mod caller_check; // every protected operation × every bad token
mod cleanup; // what is over goes
mod crash; // kill -9 loses nothing that was answered
mod document_linters; // the document, as tools see it
mod encodings; // chunks, charsets, forms, parameters
mod error_table; // every error code, with its exact texts
mod explain; // why was this token refused?
mod forgery; // forged tokens at every protected operation
mod forward_auth; // what proxies ask, and real proxies in front of an application
mod fuzz; // what nobody thought of, against the document
mod guarantee; // logout means logout, whatever breaks
mod http_basics; // request ids, headers, CORS, methods, media types
mod keys; // the life of signing keys, and of the secret that seals them
mod listener; // broken and slow clients, SIGTERM
mod log; // which request it was, never a credential
mod matrix; // every operation × everybody who may ask
mod metrics; // what operators see
mod outage; // a store that is down, stopped or slow
mod pages; // what the binary shows to people
mod prose;
mod revocation_stream; // what was taken back, for those who check tokens themselves
mod shutdown_writes; // what a replica that stops has still to write // the words of the public texts
// the document, the collection for Postman, README, .env.example: checked in and true
mod published;
mod rate_limits; // guessers are slowed, owners get in
mod revocation; // leases, the log, and who answers checks
mod revocation_matrix; // every revocation × every credential × a second replica
mod session_restore; // Redis loses sessions, and users stay signed in
mod start; // settings, migrations, agreement of replicas
mod storm; // a thousand sign-ins at once
mod timing; // no answer tells by its time who has an account
mod token_cache; // what is known of a token saves its signature check, and nothing else
mod tour; // the README's tour, as printed
