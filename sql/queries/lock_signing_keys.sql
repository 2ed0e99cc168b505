-- A change depends on all keys, so concurrent changes wait here and then see the result. Reads continue.
lock table signing_keys in exclusive mode
