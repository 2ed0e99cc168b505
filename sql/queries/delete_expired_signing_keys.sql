-- All tokens of these keys have expired or are revoked. `domain/key_life.rs` decides which keys have expired.
delete from signing_keys where kid = any($1)
