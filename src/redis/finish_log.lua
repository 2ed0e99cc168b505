-- Puts a log that was built into force: from here on there is an epoch.
-- KEYS: 1 state, 2 log, 3 who is building
-- ARGV: 1 epoch, 2 last number, 3 length of leases in ms, 4 channel
-- Returns 1; or 0 where something came in between, and it was for nothing.
assert(#KEYS == 3 and #ARGV == 4)
if not is_building(KEYS[3], ARGV[1]) or redis.call('XLEN', KEYS[2]) ~= tonumber(ARGV[2]) then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'lease_ms', ARGV[3], 'first', 1, 'last', ARGV[2], 'beat', 0)
wake(ARGV[4], 'appended')
return 1
