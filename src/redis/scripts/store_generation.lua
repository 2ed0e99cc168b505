-- Stores a larger generation of a user, which revokes all refresh tokens of smaller ones.
-- KEYS: 1 user
-- ARGV: 1 generation, 2 lifetime in ms
-- Returns: 'stored'
assert(#KEYS == 1 and #ARGV == 2)
store_generation(KEYS[1], ARGV[1])
extend_lifetime(KEYS[1], ARGV[2])
return 'stored'
