-- Counts one try in several buckets: in all of them, or in none where one refuses. A bucket holds the moment at which it
-- will be empty (µs since the epoch, of this server's clock); its level is the time until then. The arithmetic is that of
-- domain/throttle.rs.
-- KEYS: the buckets
-- ARGV: for each bucket 1 interval, 2 capacity, in µs
-- Returns {1 or 0, {level of each bucket now, in µs}}: 1 where the try was counted.
assert(#KEYS > 0 and #ARGV == 2 * #KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local levels, counted = {}, 1
for at, key in ipairs(KEYS) do
  local interval, capacity = tonumber(ARGV[2 * at - 1]), tonumber(ARGV[2 * at])
  local level = tonumber(redis.call('GET', key) or '0') - now
  levels[at] = math.min(math.max(level, 0), capacity)
  if levels[at] + interval > capacity then
    counted = 0
  end
end
if counted == 1 then
  for at, key in ipairs(KEYS) do
    levels[at] = levels[at] + tonumber(ARGV[2 * at - 1])
    -- Written out: as a number it might lose its last digits.
    redis.call('SET', key, string.format('%.0f', now + levels[at]), 'PX', math.ceil(levels[at] / 1000))
  end
end
return { counted, levels }
