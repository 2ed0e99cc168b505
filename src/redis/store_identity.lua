-- What the next tokens of an account say, after a change of name, address or role.
-- KEYS: 1 account
-- ARGV: 1 identity version, 2 identity (JSON), 3 lifetime in ms
-- Returns: 'stored'
assert(#KEYS == 1 and #ARGV == 3)
store_identity(KEYS[1], ARGV[1], ARGV[2])
keep_for(KEYS[1], ARGV[3])
return 'stored'
