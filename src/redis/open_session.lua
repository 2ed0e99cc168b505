-- Takes a fresh session in.
-- KEYS: 1 session, 2 account
-- ARGV: 1 generation, 2 session (JSON, opaque here), 3 absolute end (seconds since the epoch), 4 lifetime in ms,
--       5 identity version, 6 identity (JSON)
-- Returns: 'opened', or 'ended' where a tombstone was there first.
assert(#KEYS == 2 and #ARGV == 6)
if redis.call('HEXISTS', KEYS[1], 'ended') == 1 then
  return 'ended'
end
redis.call('HSET', KEYS[1], 'counter', 0, 'gen', ARGV[1], 'session', ARGV[2], 'ends_at', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
store_generation(KEYS[2], ARGV[1])
store_identity(KEYS[2], ARGV[5], ARGV[6])
keep_for(KEYS[2], ARGV[4])
return 'opened'
