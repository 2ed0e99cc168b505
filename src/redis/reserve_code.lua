-- Compares a code and reserves it, so that of two requests with it one goes on.
-- KEYS: 1 code, 2 wrong tries for this account from this network
-- ARGV: 1 keyed hash, 2 the one under the other secret (or the first again), 3 reservation in ms, 4 most tries, 5 their
--   window in ms
-- Returns one of
--   {'reserved', row}
--   {'busy', row}           it is the code, but another request is using it
--   {'wrong', nothing}      counted
--   {'exhausted', ms}       no further try is looked at for so long; the code itself stays good
-- Comparing keyed hashes with "==" tells a guesser nothing: without the key nobody can choose a hash.
assert(#KEYS == 2 and #ARGV == 5)
if tonumber(redis.call('GET', KEYS[2]) or '0') >= tonumber(ARGV[4]) then
  return { 'exhausted', redis.call('PTTL', KEYS[2]) }
end
local code = redis.call('HMGET', KEYS[1], 'row', 'hash')
if code[2] ~= ARGV[1] and code[2] ~= ARGV[2] then
  if redis.call('INCR', KEYS[2]) == 1 then
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
  end
  return { 'wrong', false }
end
local now = redis.call('TIME')
local milliseconds = now[1] * 1000 + math.floor(now[2] / 1000)
local reserved = tonumber(redis.call('HGET', KEYS[1], 'reserved_until') or '0')
if reserved > milliseconds then
  return { 'busy', code[1] }
end
redis.call('HSET', KEYS[1], 'reserved_until', milliseconds + tonumber(ARGV[3]))
return { 'reserved', code[1] }
