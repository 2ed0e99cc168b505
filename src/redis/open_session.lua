-- Takes a fresh session in.
-- KEYS: 1 session, 2 account
-- ARGV: 1 generation, 2 scope, 3 client, 4 auth_time (s), 5 absolute end (s), 6 lifetime in ms, 7 identity version,
--       8 identity (JSON)
-- Returns: 'opened', or 'ended' where a tombstone was there first.
assert(#KEYS == 2 and #ARGV == 8)
if redis.call('HEXISTS', KEYS[1], 'ended') == 1 then
  return 'ended'
end
redis.call('HSET', KEYS[1], 'counter', 0, 'rotated_at', now_ms(), 'gen', ARGV[1], 'scope', ARGV[2], 'client_id', ARGV[3],
  'auth_time', ARGV[4], 'ends_at', ARGV[5], 'home', home())
redis.call('PEXPIRE', KEYS[1], ARGV[6])
store_generation(KEYS[2], ARGV[1])
store_identity(KEYS[2], ARGV[7], ARGV[8])
keep_for(KEYS[2], ARGV[6])
return 'opened'
