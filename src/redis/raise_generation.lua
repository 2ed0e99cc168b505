-- Refuses every refresh token of an account below a generation.
-- KEYS: 1 account
-- ARGV: 1 generation, 2 lifetime in ms
-- Returns: 'raised'
assert(#KEYS == 1 and #ARGV == 2)
store_generation(KEYS[1], ARGV[1])
keep_for(KEYS[1], ARGV[2])
return 'raised'
