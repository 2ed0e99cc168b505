-- Writes the tombstones of sessions, even if a session is not cached. Keeps an existing tombstone.
-- KEYS: one per session
-- ARGV: 1 reason, 2 lifetime of a tombstone in ms
-- Returns: 'revoked'
assert(#KEYS > 0 and #ARGV == 2)
for _, key in ipairs(KEYS) do
  redis.call('HSETNX', key, 'revoked_reason', ARGV[1])
  -- The revocation is already committed in PostgreSQL.
  redis.call('HDEL', key, 'unpersisted')
  extend_lifetime(key, ARGV[2])
end
return 'revoked'
