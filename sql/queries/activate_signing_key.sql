-- After the revocation of the current key, a published key signs immediately.
update signing_keys set signs_from = clock_timestamp() where kid = $1
