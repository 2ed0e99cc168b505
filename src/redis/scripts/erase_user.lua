-- Revokes all refresh tokens of a deleted user, and deletes the token claims of the user.
-- KEYS: 1 user
-- ARGV: 1 generation, 2 lifetime in ms
-- Returns: 'erased'
assert(#KEYS == 1 and #ARGV == 2)
store_generation(KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], 'erased', '1')
redis.call('HDEL', KEYS[1], 'identity', 'identity_version', 'groups_version')
extend_lifetime(KEYS[1], ARGV[2])
return 'erased'
