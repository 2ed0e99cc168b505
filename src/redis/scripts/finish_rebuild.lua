-- Activates a rebuilt log under a new epoch.
-- KEYS: 1 state, 2 log, 3 fence
-- ARGV: 1 epoch ID, 2 last sequence number, 3 lease length in ms, 4 channel
-- Returns 1; or 0 if the fence does not hold, so that the rebuild must start again.
assert(#KEYS == 3 and #ARGV == 4)
if not fence_holds(KEYS[3], ARGV[1]) or redis.call('XLEN', KEYS[2]) ~= tonumber(ARGV[2]) then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('HSET', KEYS[1], 'epoch_id', ARGV[1], 'lease_ms', ARGV[3], 'first_seq', 1, 'last_seq', ARGV[2],
  'renewal_counter', 0)
notify(ARGV[4], 'appended')
return 1
