-- Writes the tombstones of sessions, also where there is no session, and never over another one.
-- KEYS: one for each session
-- ARGV: 1 reason, 2 lifetime of a tombstone in ms
-- Returns: 'ended'
assert(#KEYS > 0 and #ARGV == 2)
for _, key in ipairs(KEYS) do
  redis.call('HSETNX', key, 'ended', ARGV[1])
  -- Whoever ends a session has written it into the record before.
  redis.call('HDEL', key, 'unrecorded')
  keep_for(key, ARGV[2])
end
return 'ended'
