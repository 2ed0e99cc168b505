//! One binary with all black-box tests: real gateways over real sockets, with real PostgreSQL and
//! Redis.
//!
//! Each test has a database and a key prefix of its own, so all run in parallel. Those that break a
//! store bring one of their own. Every answer that any test sees is compared with the document
//! (`gateway.rs`).

// What the tests stand on.
mod address; // where programs listen that are started later
mod contract; // every answer is documented
mod deployed; // proxies as `deploy/` configures them
mod forge; // tokens that the gateway never issued
mod gateway; // a running gateway, one verb per method
mod leaks; // where a secret could have been left
mod mail; // a real SMTP server
mod program; // commands of the binary, each run until it ends
mod proxy; // a socket that can be cut
mod stack; // the stores, and a fresh database for each test
mod tools; // programs from PyPI and npm
mod wire; // bytes that no client would send

// What people do.
mod account; // GET, PATCH and DELETE /user, password, dashboard
mod addresses; // verifying and changing the e-mail address
mod browser; // the cookie: in, out, sliding, other sites, and a real browser
mod clients; // OAuth clients, for administrators
mod devices; // my sessions, and ending one
mod generated; // clients that public generators make of the document
mod items; // create, read, update, delete, pages, lost updates
mod oauth; // tokens issued, looked at and given back, by us and by clients that nobody here wrote
mod operator; // `latchkey user …`
mod personal_tokens; // what programs of a user's sign in with
mod recovery; // forgot and reset, by mail
mod refreshing; // rotation and reuse
mod signing_in; // sign-up, sign-in, what is refused
mod signing_out; // logout means logout, on a second replica too
mod users; // administrators and whom they administer

// What they bring along: the five systems that this one replaces.
mod origin_a;
mod origin_b;
mod origin_c;
mod origin_d;
mod origin_e;

// What must hold.
mod audit; // every security event is recorded, with its change, and shown to nobody else
mod bad_input; // every bad body is a 4xx that names the member, never the value
// Replicas have loopback addresses of their own, which other systems do not have.
mod architecture; // the invariants of lib.rs, read from the source
#[cfg(target_os = "linux")]
mod balancer; // three replicas behind the real nginx and the real HAProxy
mod caller_check; // every protected operation × every bad token
mod coalescing; // many callers, one statement, and each its own answer
mod crash; // kill -9 loses nothing that was answered
mod edge; // request ids, headers, CORS, methods, media types
mod encodings; // chunks, charsets, forms, parameters
mod error_table; // every error code, with its exact texts
mod explain; // why was this token refused?
mod feed; // what was taken back, for those who check tokens themselves
mod forgery; // forged tokens at every protected operation
mod forward_auth; // what proxies ask, and real proxies in front of an application
mod fuzz; // what nobody thought of, against the document
mod janitor; // what is over goes
mod judges; // the document, as tools see it
mod keys; // the life of signing keys, and of the secret that seals them
mod last_words; // what a replica that stops has still to write
mod listener; // broken and slow clients, SIGTERM
mod log; // which request it was, never a credential
mod matrix; // every operation × everybody who may ask
mod metrics; // what operators see
mod outage; // a store that is down, stopped or slow
mod pages; // what the binary shows to people
mod promise; // logout means logout, whatever breaks
mod prose; // the words of the public texts
// the document, the collection for Postman, README, .env.example: checked in and true
mod published;
mod revocation; // leases, the log, and who answers checks
mod revocation_matrix; // every revocation × every credential × a second replica
mod session_restore; // Redis loses sessions, and users stay signed in
mod start; // settings, migrations, agreement of replicas
mod storm; // a thousand sign-ins at once
mod throttle; // guessers are slowed, owners get in
mod timing; // no answer tells by its time who has an account
mod token_cache; // what is known of a token saves its signature check, and nothing else
mod tour; // the README's tour, as printed
