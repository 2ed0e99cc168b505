-- Stores a new session.
-- KEYS: 1 session, 2 user
-- ARGV: 1 generation, 2 scope, 3 client_id, 4 auth_time (s), 5 end of the maximum lifetime (s), 6 lifetime in ms,
--       7 identity version, 8 identity (JSON)
-- Returns: 'created', or 'revoked' if there is already a tombstone.
assert(#KEYS == 2 and #ARGV == 8)
if redis.call('HEXISTS', KEYS[1], 'revoked_reason') == 1 then
  return 'revoked'
end
redis.call('HSET', KEYS[1], 'rotation_counter', 0, 'rotated_at', now_ms(), 'generation', ARGV[1], 'scope', ARGV[2],
  'client_id', ARGV[3], 'auth_time', ARGV[4], 'expires_at', ARGV[5], 'history_id', history_id())
redis.call('PEXPIRE', KEYS[1], ARGV[6])
store_generation(KEYS[2], ARGV[1])
store_identity(KEYS[2], ARGV[7], ARGV[8])
extend_lifetime(KEYS[2], ARGV[6])
return 'created'
