-- Registers a replica as a member, so that revocations wait for it. A replica registers first and reads second.
-- KEYS: 1 state, 2 log
-- ARGV: 1 member ID; empty for a reader that never holds a lease
-- Returns {'lost'}, {'evicting'}, or {'joined', epoch_id, lease_ms, sequence number before the first entry}
assert(#KEYS == 2 and #ARGV == 1)
if evicts(KEYS[1]) then
  return { 'evicting' }
end
local epoch_id, first = log_of(KEYS[1], KEYS[2])
if not epoch_id then
  return { 'lost' }
end
if ARGV[1] ~= '' then
  local renewal_counter = redis.call('HINCRBY', KEYS[1], 'renewal_counter', 1)
  redis.call('HSET', KEYS[1], 'member:' .. ARGV[1], (first - 1) .. ':' .. renewal_counter)
end
return { 'joined', epoch_id, tonumber(redis.call('HGET', KEYS[1], 'lease_ms')), first - 1 }
