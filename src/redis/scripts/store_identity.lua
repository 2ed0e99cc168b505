-- Stores the token claims of a user after a change of the username, email address, name, role, or groups.
-- KEYS: 1 user
-- ARGV: 1 identity version, 2 identity (JSON), 3 lifetime in ms
-- Returns: 'stored'
assert(#KEYS == 1 and #ARGV == 3)
store_identity(KEYS[1], ARGV[1], ARGV[2])
extend_lifetime(KEYS[1], ARGV[3])
return 'stored'
