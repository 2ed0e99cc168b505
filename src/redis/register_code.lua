-- Makes the code of a mail the current one of its account and purpose.
-- KEYS: 1 code
-- ARGV: 1 row of the outbox (a uuid v7, so that a later one compares greater), 2 keyed hash, 3 rest of its life in ms
-- Returns: 'registered', or 'replaced' where a newer code is there already.
assert(#KEYS == 1 and #ARGV == 3)
local known = redis.call('HGET', KEYS[1], 'row')
if known and known > ARGV[1] then
  return 'replaced'
end
if known ~= ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'row', ARGV[1], 'hash', ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'registered'
