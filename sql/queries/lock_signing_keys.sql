-- Replicas that start together make one first key, not two: the others wait here, and then find it.
lock table signing_keys in exclusive mode
