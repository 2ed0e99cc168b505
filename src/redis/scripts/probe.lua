-- Writes a key, so that a server that rejects writes fails, and reads the clock. Replicas exchange the offsets of their
-- clocks, so that one of them can tell whether its clock is the wrong one.
-- KEYS: 1 clocks
-- ARGV: 1 ID of the replica, 2 clock of this server minus that of the replica in ms, or empty
-- Returns {seconds, µs, offsets of other replicas in the last five seconds}
assert(#KEYS == 1 and #ARGV == 2)
local time = redis.call('TIME')
local offsets = {}
local entries = redis.call('HGETALL', KEYS[1])
for index = 1, #entries, 2 do
  local at, offset = string.match(entries[index + 1], '^(%d+):(-?%d*)$')
  local age = time[1] - (at or 0)
  if age > 60 then
    redis.call('HDEL', KEYS[1], entries[index])
  elseif age <= 5 and offset ~= '' and entries[index] ~= ARGV[1] then
    table.insert(offsets, tonumber(offset))
  end
end
redis.call('HSET', KEYS[1], ARGV[1], time[1] .. ':' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], 60000)
return { time[1], time[2], offsets }
