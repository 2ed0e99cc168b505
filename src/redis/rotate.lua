-- Exchanges a refresh token.
-- KEYS: 1 session, 2 account
-- ARGV: 1 counter presented, 2 idle lifetime in ms, 3 lifetime of a tombstone in ms
-- Returns four values, the last three empty but in the first case:
--   'rotated', counter, session, identity
--   'unknown'   no such session, or nothing is known of its account
--   'ended', 1  it has ended by reuse, and nobody has written that into the record yet
--   'ended'     it has ended otherwise, or its generation is past
--   'reused'    the counter is not the current one; the tombstone is written here, so that no failure after this line
--                helps a thief
assert(#KEYS == 2 and #ARGV == 3)
local session = redis.call('HMGET', KEYS[1], 'counter', 'gen', 'session', 'ends_at', 'ended', 'unrecorded')
local account = redis.call('HMGET', KEYS[2], 'gen', 'identity')
local left = (tonumber(session[4] or '0') - tonumber(redis.call('TIME')[1])) * 1000
if session[5] then
  return { 'ended', session[6], false, false }
end
if not session[1] or not account[1] or not account[2] then
  return { 'unknown', false, false, false }
end
if left <= 0 or tonumber(session[2]) < tonumber(account[1]) then
  return { 'ended', false, false, false }
end
if ARGV[1] ~= session[1] then
  redis.call('HSET', KEYS[1], 'ended', 'reuse', 'unrecorded', 1)
  keep_for(KEYS[1], ARGV[3])
  return { 'reused', false, false, false }
end
local counter = redis.call('HINCRBY', KEYS[1], 'counter', 1)
local lifetime = math.min(left, tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], lifetime)
keep_for(KEYS[2], lifetime)
return { 'rotated', counter, session[3], account[2] }
