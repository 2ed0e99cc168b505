select kid, public_key, sealed_private_key from signing_keys order by created_at desc, kid
