insert into signing_keys (kid, public_key, sealed_private_key) values ($1, $2, $3)
