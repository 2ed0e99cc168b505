-- Writes the tombstone of a session, also where there is no session, and never over another one.
-- KEYS: 1 session
-- ARGV: 1 reason, 2 lifetime of a tombstone in ms
-- Returns: 'ended'
assert(#KEYS == 1 and #ARGV == 2)
redis.call('HSETNX', KEYS[1], 'ended', ARGV[1])
keep_for(KEYS[1], ARGV[2])
return 'ended'
