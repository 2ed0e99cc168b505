-- Takes a session in from the record, whose rows the caller holds, and exchanges its refresh token.
-- KEYS: 1 session, 2 account
-- ARGV: 1 counter presented, 2 idle lifetime in ms, 3 grace in ms, 4 lifetime of a tombstone in ms,
--       5 when the session was seen away (ms), 6 for how long that counts (ms),
--       7 recorded counter, 8 when it was recorded (ms), 9 generation, 10 scope, 11 client, 12 auth_time (s),
--       13 absolute end (s), 14 identity version, 15 identity (JSON)
-- Returns what rotate.lua returns; 'late' in place of 'away', where the caller may hold the rows no more.
assert(#KEYS == 2 and #ARGV == 15)
local since = now_ms() - tonumber(ARGV[5])
if since < 0 or since > tonumber(ARGV[6]) then
  return { 'late' }
end
local known = look(KEYS[1], KEYS[2])
if known.ended then
  return { 'ended', known.unrecorded }
end
local presented = tonumber(ARGV[1])
-- At home meanwhile: somebody else adopted it, and what was read is worth nothing.
if not known.at_home then
  local counter, rotated_at = tonumber(ARGV[7]), ARGV[8]
  if known.counter and known.counter > counter then
    counter, rotated_at = known.counter, known.rotated_at
  end
  -- The record is up to a second late. Only we can have made the token, so its counter was reached.
  counter = math.max(counter, presented)
  redis.call('HSET', KEYS[1], 'counter', counter, 'rotated_at', rotated_at, 'gen', ARGV[9], 'scope', ARGV[10],
    'client_id', ARGV[11], 'auth_time', ARGV[12], 'ends_at', ARGV[13], 'home', home())
  store_generation(KEYS[2], ARGV[9])
  store_identity(KEYS[2], ARGV[14], ARGV[15])
  keep_for(KEYS[1], ARGV[2])
  keep_for(KEYS[2], ARGV[2])
  known = look(KEYS[1], KEYS[2])
end
return exchange(KEYS[1], KEYS[2], known, presented, tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4])
