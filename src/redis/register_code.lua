-- Makes the code of a mail the current one of its account and purpose.
-- KEYS: 1 code
-- ARGV: 1 row of the outbox (a uuid v7, so that a later one compares greater), 2 keyed hash, 3 the hash of the code that
--   another replica may have sent with this row already (or the first again), 4 rest of its life in ms
-- Returns: 'registered'; 'kept' where the code of the third is the current one and stays it; or 'replaced' where a newer
--   code is there already.
assert(#KEYS == 1 and #ARGV == 4)
local known = redis.call('HMGET', KEYS[1], 'row', 'hash')
if known[1] and known[1] > ARGV[1] then
  return 'replaced'
end
local is_kept = known[1] == ARGV[1] and known[2] == ARGV[3] and known[2] ~= ARGV[2]
if not is_kept and (known[1] ~= ARGV[1] or known[2] ~= ARGV[2]) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'row', ARGV[1], 'hash', ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return is_kept and 'kept' or 'registered'
