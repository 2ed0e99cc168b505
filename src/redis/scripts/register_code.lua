-- Makes the code of an email the current one of its user and purpose.
-- KEYS: 1 code
-- ARGV: 1 email ID (a UUID of version 7, so that a later one compares greater), 2 keyed hash, 3 keyed hash with the
--   other secret, which another replica might have sent already (or the first again), 4 remaining lifetime in ms
-- Returns: 'registered'; 'kept' if the current code is the one of the third argument; or 'replaced' if there is a newer
--   code.
assert(#KEYS == 1 and #ARGV == 4)
local stored = redis.call('HMGET', KEYS[1], 'email_id', 'hash')
if stored[1] and stored[1] > ARGV[1] then
  return 'replaced'
end
local is_kept = stored[1] == ARGV[1] and stored[2] == ARGV[3] and stored[2] ~= ARGV[2]
if not is_kept and (stored[1] ~= ARGV[1] or stored[2] ~= ARGV[2]) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'email_id', ARGV[1], 'hash', ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return is_kept and 'kept' or 'registered'
