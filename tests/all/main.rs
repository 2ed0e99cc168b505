//! One binary with all black-box tests: real servers over real sockets, with real PostgreSQL and
//! Redis.
//!
//! Each test has its own database and key prefix, so that all tests run in parallel. Tests that
//! break a store start their own. Every response is compared with the OpenAPI document
//! (`contract.rs`).

// Fixtures.
mod contract; // every response matches the OpenAPI document
mod deployed; // proxies as `deploy/` configures them
mod leaks; // places where a secret could leak
mod loopback; // addresses for programs that start later
mod mail; // a real SMTP server
mod program; // commands of the binary, run to completion
mod proxy; // a TCP proxy that can interrupt connections
mod raw_http; // requests that HTTP client libraries don't send
mod test_server; // a running server, with one method per operation
mod test_stores; // the stores, and a new database for each test
mod token_signer; // tokens that the server never issued
mod tools; // programs from PyPI and npm
mod wall_clock; // wall clocks that differ from that of the machine

// Use cases.
mod browser; // session cookies: sign-in, sign-out, renewal, CSRF, and a real browser
mod browser_sign_on; // sign-in of browsers at applications behind a proxy
mod current_user; // GET, PATCH, and DELETE /user, password, dashboard
mod email_addresses; // verification and change of email addresses
mod email_delivery; // mail servers that reject, fail, or respond slowly
mod generated; // clients that public generators create from the OpenAPI document
mod items; // create, read, update, delete, pagination, lost updates
mod notices; // emails about changes of an account
mod oauth; // issuing, introspection, and revocation, also with third-party clients
mod oauth_clients; // administration of OAuth clients
mod operator; // `latchkey user …` and `latchkey client …`
mod password_reset; // password reset by email
mod personal_access_tokens; // personal access tokens of a user
mod refresh; // rotation and reuse detection
mod sessions; // list and revoke the sessions of the current user
mod sign_in; // sign-up and sign-in
mod sign_out; // sign-out, with immediate revocation on a second replica
mod sign_up_verify; // sign-up with an emailed code, which discloses no accounts
mod user_export; // everything that is stored about a user
mod user_pages; // sign-in, sign-up, and password reset in a browser without scripts
mod usernames; // rules and reserved usernames
mod users; // user administration

// Migrations from five existing systems.
mod migrating_from_fastapi_jwt_crud;
mod migrating_from_fastapi_oauth2;
mod migrating_from_fastapi_scratch;
mod migrating_from_fastapi_task;
mod migrating_from_flask_cookie;

// Cross-cutting properties.
mod applications; // administration of applications behind a proxy
mod architecture; // the invariants of lib.rs, checked on the source text
mod audit; // every security event is stored, and visible only to its user and administrators
mod bad_input; // every malformed body gets a 4xx that names the field, never the value
// Replicas bind their own loopback addresses, which only Linux configures by default.
#[cfg(target_os = "linux")]
mod balancer; // three replicas behind real nginx and real HAProxy
mod batching; // concurrent callers share a statement, and each gets its own result
mod caller_check; // every protected operation × every invalid credential
mod cleanup; // expired rows are deleted
#[cfg(target_os = "linux")]
mod clocks; // wall clocks that differ from those of the stores; only Linux can change them per program
mod command_line; // `latchkey version`, `completions`, `man`, `config`, and `health`
mod crash; // SIGKILL loses no acknowledged write
mod document_linters; // linters of the OpenAPI document
mod documents; // shell blocks of the documents, executed as printed, and the book
mod encodings; // chunks, charsets, forms, parameters
mod error_table; // every error code, with its exact texts
mod examples; // the programs in `examples/`
mod explain; // `latchkey explain`: the reason for which a token is rejected
mod forgery; // forged tokens at every protected operation
mod forward_auth; // forward authentication, and real proxies in front of an application
mod fuzz; // generated requests, checked against the OpenAPI document
mod guarantee; // immediate revocation under faults
mod http_basics; // request IDs, headers, CORS, methods, media types
mod keys; // signing keys, and the secret that seals them
mod leak_sweep; // everything that a server writes, searched for secrets
mod listener; // broken and slow clients, SIGTERM
mod log; // requests in the log, without credentials
mod matrix; // every operation × every role
mod metrics; // metrics for operators
mod outage; // stores that are down, paused, or slow
mod pages; // HTML pages of the binary
mod preflight; // stores that can't be used, and `latchkey check`
mod prose; // the words of the public texts
mod published; // generated files: OpenAPI document, Postman collection, reference pages, .env.example
mod query_plans; // no statement reads a large table completely
mod rate_limits; // attackers are limited, and users can still sign in
mod revocation; // leases, the revocation log, and check sources
mod revocation_matrix; // every revocation × every credential × a second replica
mod revocation_stream; // the stream for services that validate tokens locally
mod sent_secrets;
mod session_restore; // Redis loses sessions, and users stay signed in
mod shutdown_writes; // pending writes of a replica that stops
mod start; // settings, migrations, agreement of replicas
mod storm; // a thousand concurrent sign-ins
mod timing; // response times don't reveal whether a user exists
mod token_cache; // the cache of verified signatures
mod tour; // the tour of the API, executed as printed
