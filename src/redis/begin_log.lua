-- Begins to build the log anew from the record. What is there of it goes, so that no check takes anything missing for an
-- answer; leases that are out there run out by themselves.
-- KEYS: 1 state, 2 log, 3 who is building
-- ARGV: 1 nonce, 2 epoch that is to be replaced although it is good, or nothing, 3 lifetime of the third key in ms
-- Returns {'whole'} where there is a good epoch already, {'deposed'} where this server is no master; or
--   {'begun', epoch}: that of the log to be
assert(#KEYS == 3 and #ARGV == 3)
local good = log_of(KEYS[1], KEYS[2])
if good and good ~= ARGV[2] then
  return { 'whole' }
end
local here = mastered()
if not here then
  return { 'deposed' }
end
local epoch = here .. ':' .. ARGV[1]
redis.call('SET', KEYS[3], epoch, 'PX', ARGV[3])
redis.call('DEL', KEYS[1], KEYS[2])
return { 'begun', epoch }
