-- Refunds one attempt.
-- KEYS: the buckets in which it was counted
-- ARGV: per bucket its interval in µs
-- Returns {current level of each bucket, in µs}
assert(#KEYS > 0 and #ARGV == #KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local levels = {}
for index, key in ipairs(KEYS) do
  local level = tonumber(redis.call('GET', key) or '0') - now - tonumber(ARGV[index])
  levels[index] = math.max(level, 0)
  if levels[index] > 0 then
    redis.call('SET', key, string.format('%.0f', now + levels[index]), 'PX', math.ceil(levels[index] / 1000))
  else
    redis.call('DEL', key)
  end
end
return levels
