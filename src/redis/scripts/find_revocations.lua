-- Looks up the revocation keys of a token, for a replica without a lease.
-- KEYS: 1 state, then one per revocation key
-- ARGV: none
-- Returns nothing if there is no epoch, because then a missing entry proves nothing; otherwise per revocation key its
-- value, or nothing.
assert(#KEYS > 1 and #ARGV == 0)
if evicts(KEYS[1]) or not epoch_of(KEYS[1]) then
  return false
end
-- A deposed primary rejects this write. The new primary might have entries that this server lacks.
redis.call('HINCRBY', KEYS[1], 'renewal_counter', 1)
local found = {}
for index = 2, #KEYS do
  local stored = redis.call('GET', KEYS[index])
  found[index - 1] = stored and tonumber(string.match(stored, '^%d+')) or false
end
return found
