-- Everything that can speak against a token, for a replica without a lease.
-- KEYS: 1 state, then one for each subject
-- ARGV: none
-- Returns nothing where there is no epoch, because then that an entry is missing says nothing; else for each subject its
-- value, or nothing.
assert(#KEYS > 1 and #ARGV == 0)
if evicts(KEYS[1]) or not epoch_of(KEYS[1]) then
  return false
end
-- A write, which a deposed server refuses: what it does not hold may be on the new one.
redis.call('HINCRBY', KEYS[1], 'beat', 1)
local found = {}
for at = 2, #KEYS do
  local known = redis.call('GET', KEYS[at])
  found[at - 1] = known and tonumber(string.match(known, '^%d+')) or false
end
return found
