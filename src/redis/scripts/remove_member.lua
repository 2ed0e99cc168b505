-- Removes a member: one that deregisters, or one that has not renewed its lease since its renewal counter was read.
-- KEYS: 1 state
-- ARGV: 1 member ID, 2 epoch and 3 renewal counter that were read, both empty if the member deregisters, 4 channel
-- Returns 1 if it was removed, otherwise 0: it has renewed its lease meanwhile, or was not a member.
assert(#KEYS == 1 and #ARGV == 4)
local field = 'member:' .. ARGV[1]
local stored = redis.call('HGET', KEYS[1], field)
if not stored then
  return 0
end
if ARGV[3] ~= '' then
  local renewal_counter = string.match(stored, ':(%d+)$')
  if renewal_counter ~= ARGV[3] or redis.call('HGET', KEYS[1], 'epoch_id') ~= ARGV[2] then
    return 0
  end
end
redis.call('HDEL', KEYS[1], field)
notify(ARGV[4], 'acknowledged')
return 1
