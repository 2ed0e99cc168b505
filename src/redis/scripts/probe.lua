-- Writes a key, so that a server that rejects writes fails, and reads the clock.
-- KEYS: 1 probe
-- ARGV: none
-- Returns the time of this server: seconds and µs
assert(#KEYS == 1)
redis.call('SET', KEYS[1], '1', 'PX', 60000)
return redis.call('TIME')
