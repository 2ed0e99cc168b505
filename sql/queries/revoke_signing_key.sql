update signing_keys set revoked_at = clock_timestamp() where kid = $1
