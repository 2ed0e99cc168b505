-- Restores a session from PostgreSQL, whose rows the caller has locked, and rotates its refresh token.
-- KEYS: 1 session, 2 user
-- ARGV: 1 counter presented, 2 idle timeout in ms, 3 reuse interval in ms, 4 lifetime of a tombstone in ms,
--       5 when the session was found missing (ms), 6 for how long that is valid (ms),
--       7 counter in PostgreSQL, 8 when it was stored (ms), 9 generation, 10 scope, 11 client_id, 12 auth_time (s),
--       13 end of the maximum lifetime (s), 14 identity version, 15 identity (JSON),
--       16 outages
-- Returns what rotate.lua returns, and 'late' instead of 'not_cached' if the caller's locks might have expired.
assert(#KEYS == 2 and #ARGV == 16)
local since = now_ms() - tonumber(ARGV[5])
if since < 0 or since > tonumber(ARGV[6]) then
  return { 'late' }
end
local cached = load_session(KEYS[1], KEYS[2])
if cached.revoked_reason then
  return { 'revoked', cached.unpersisted }
end
local presented = tonumber(ARGV[1])
-- The largest counter that the server has issued. Another replica might have restored the session meanwhile, a deposed
-- primary might still accept rotations, and PostgreSQL is up to a second late. Only the server can have issued the
-- token.
local counter, rotated_at = tonumber(ARGV[7]), ARGV[8]
if cached.rotation_counter and cached.rotation_counter >= counter then
  counter, rotated_at = cached.rotation_counter, cached.rotated_at
end
counter = math.max(counter, presented)
redis.call('HSET', KEYS[1], 'rotation_counter', counter, 'rotated_at', rotated_at)
if not cached.is_current then
  redis.call('HSET', KEYS[1], 'generation', ARGV[9], 'scope', ARGV[10], 'client_id', ARGV[11], 'auth_time', ARGV[12],
    'expires_at', ARGV[13], 'history_id', history_id())
end
store_generation(KEYS[2], ARGV[9])
store_identity(KEYS[2], ARGV[14], ARGV[15])
extend_lifetime(KEYS[1], ARGV[2])
extend_lifetime(KEYS[2], ARGV[2])
cached = load_session(KEYS[1], KEYS[2])
return exchange(KEYS[1], KEYS[2], cached, presented, tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[16])
