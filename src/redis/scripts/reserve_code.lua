-- Compares a one-time code and reserves it, so that only one of two concurrent requests can use it.
-- KEYS: 1 code, 2 failed attempts for this user from this network
-- ARGV: 1 keyed hash, 2 keyed hash with the other secret (or the first again), 3 reservation in ms, 4 maximum number of
--   failed attempts, 5 their period in ms
-- Returns one of
--   {'reserved', email ID}
--   {'busy', email ID}      the code is correct, but another request is using it
--   {'wrong', nothing}      the attempt was counted
--   {'exhausted', ms}       attempts are rejected for this time; the code stays valid
-- Comparing keyed hashes with "==" reveals nothing: without the key, an attacker can't choose a hash.
assert(#KEYS == 2 and #ARGV == 5)
if tonumber(redis.call('GET', KEYS[2]) or '0') >= tonumber(ARGV[4]) then
  return { 'exhausted', redis.call('PTTL', KEYS[2]) }
end
local code = redis.call('HMGET', KEYS[1], 'email_id', 'hash')
if not code[1] or (code[2] ~= ARGV[1] and code[2] ~= ARGV[2]) then
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
