-- Whoever changes the keys decides by all of them: the others wait here, and then find what was done. Reading goes on.
lock table signing_keys in exclusive mode
