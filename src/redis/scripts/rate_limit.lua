-- Counts one attempt in several buckets: in all of them, or in none if one is full. A bucket holds the time at which it
-- will be empty (µs since the Unix epoch, by the clock of this server); its level is the time until then.
-- `crates/domain/src/rate_limit.rs` has the same arithmetic.
-- KEYS: the buckets
-- ARGV: per bucket 1 interval, 2 capacity, in µs
-- Returns {1 or 0, {current level of each bucket, in µs}}: 1 if the attempt was counted.
assert(#KEYS > 0 and #ARGV == 2 * #KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local levels, counted = {}, 1
for index, key in ipairs(KEYS) do
  local interval, capacity = tonumber(ARGV[2 * index - 1]), tonumber(ARGV[2 * index])
  local level = tonumber(redis.call('GET', key) or '0') - now
  levels[index] = math.min(math.max(level, 0), capacity)
  if levels[index] + interval > capacity then
    counted = 0
  end
end
if counted == 1 then
  for index, key in ipairs(KEYS) do
    levels[index] = levels[index] + tonumber(ARGV[2 * index - 1])
    -- Formatted explicitly: as a number it might lose its last digits.
    redis.call('SET', key, string.format('%.0f', now + levels[index]), 'PX', math.ceil(levels[index] / 1000))
  end
end
return { counted, levels }
