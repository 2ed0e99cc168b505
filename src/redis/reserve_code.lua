-- Compares a code and reserves it, so that of two requests with it one goes on.
-- KEYS: 1 code, 2 wrong tries of this account from this address, 3 wrong tries of this account
-- ARGV: 1 keyed hash, 2 reservation in ms, 3 most tries for KEYS[2], 4 most tries for KEYS[3], 5 their window in ms
-- Returns one of
--   {'reserved', row}
--   {'busy', row}           it is the code, but another request is using it
--   {'wrong', nothing}      counted
--   {'exhausted', ms}       no further try is looked at for so long; the code itself stays good
-- Comparing keyed hashes with "==" tells a guesser nothing: without the key nobody can choose a hash.
assert(#KEYS == 3 and #ARGV == 5)
for at = 2, 3 do
  if tonumber(redis.call('GET', KEYS[at]) or '0') >= tonumber(ARGV[at + 1]) then
    return { 'exhausted', redis.call('PTTL', KEYS[at]) }
  end
end
local code = redis.call('HMGET', KEYS[1], 'row', 'hash')
if code[2] ~= ARGV[1] then
  for at = 2, 3 do
    if redis.call('INCR', KEYS[at]) == 1 then
      redis.call('PEXPIRE', KEYS[at], ARGV[5])
    end
  end
  return { 'wrong', false }
end
local now = redis.call('TIME')
local milliseconds = now[1] * 1000 + math.floor(now[2] / 1000)
local reserved = tonumber(redis.call('HGET', KEYS[1], 'reserved_until') or '0')
if reserved > milliseconds then
  return { 'busy', code[1] }
end
redis.call('HSET', KEYS[1], 'reserved_until', milliseconds + tonumber(ARGV[2]))
return { 'reserved', code[1] }
