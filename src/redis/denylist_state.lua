-- Whether the denylist is complete: whoever finds it lost fills it from the record.
-- KEYS: 1 mark, 2 who is filling it
-- ARGV: 1 'look', 'begin' or 'finish', 2 a nonce of whoever fills it, 3 how long filling may take in ms
-- Returns: 'complete', 'lost', or 'begun'. Filling that was overtaken, by a flush or by somebody else, is 'lost'.
assert(#KEYS == 2 and #ARGV == 3)
if ARGV[1] == 'begin' then
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
  return 'begun'
end
if ARGV[1] == 'finish' and redis.call('GET', KEYS[2]) == ARGV[2] then
  redis.call('SET', KEYS[1], home())
  redis.call('DEL', KEYS[2])
end
return redis.call('GET', KEYS[1]) == home() and 'complete' or 'lost'
