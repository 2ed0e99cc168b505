-- Makes a replica a member: from here on, whoever revokes something waits for it. It registers before it reads anything.
-- KEYS: 1 state, 2 log
-- ARGV: 1 member, or nothing for one that reads without ever holding a lease
-- Returns {'lost'}, {'evicting'}, or {'joined', epoch, lease_ms, number before the first entry}
assert(#KEYS == 2 and #ARGV == 1)
if evicts(KEYS[1]) then
  return { 'evicting' }
end
local epoch, first = log_of(KEYS[1], KEYS[2])
if not epoch then
  return { 'lost' }
end
if ARGV[1] ~= '' then
  local beat = redis.call('HINCRBY', KEYS[1], 'beat', 1)
  redis.call('HSET', KEYS[1], 'm:' .. ARGV[1], (first - 1) .. ':' .. beat)
end
return { 'joined', epoch, tonumber(redis.call('HGET', KEYS[1], 'lease_ms')), first - 1 }
