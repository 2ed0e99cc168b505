-- Deletes the keys whose names match a pattern, in one part of all keys per call. It isn't atomic: another client can
-- write such a key meanwhile.
-- KEYS: none, because the names are not known before
-- ARGV: 1 cursor, 2 pattern
-- Returns {next cursor, number of deleted keys}; the cursor 0 ends the scan.
assert(#KEYS == 0 and #ARGV == 2)
local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000)
local deleted = 0
for _, key in ipairs(found[2]) do
  deleted = deleted + redis.call('DEL', key)
end
return { found[1], deleted }
