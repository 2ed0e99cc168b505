-- All tokens of these keys have expired or are revoked. `crates/domain/src/key_schedule.rs` decides which keys have expired.
delete from signing_keys where kid = any($1)
