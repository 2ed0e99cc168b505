-- Rotates a refresh token. refresh.lua contains `exchange`, account.lua `load_session`, and server.lua `now_ms`.
-- KEYS: 1 session, 2 user
-- ARGV: 1 counter presented, 2 idle timeout in ms, 3 reuse interval in ms, 4 lifetime of a tombstone in ms,
--       5 outages
-- Returns what `exchange` returns, or
--   'revoked', 1        revoked because of reuse, and PostgreSQL does not have the revocation yet
--   'revoked'           revoked for another reason
--   'not_cached', now   the session must be restored from PostgreSQL first; now (ms) is the time of this result. Also
--                       if the counter is larger than the stored one: only the server can have issued the token, so
--                       this data is outdated
assert(#KEYS == 2 and #ARGV == 5)
local cached = load_session(KEYS[1], KEYS[2])
if cached.revoked_reason then
  return { 'revoked', cached.unpersisted }
end
if not cached.is_current or tonumber(ARGV[1]) > cached.rotation_counter then
  return { 'not_cached', now_ms() }
end
return exchange(KEYS[1], KEYS[2], cached, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4],
  ARGV[5])
