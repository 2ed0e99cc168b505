-- Appends entries to the log and puts them on the denylist: all of them, or none where there is no epoch.
-- KEYS: 1 state, 2 log, then one for each entry
-- ARGV: 1 channel, then for each entry 1 value (a generation, or 1 for a flag), 2 end (s since the epoch), 3 text
-- Returns {'lost'} where the log cannot be relied on, {'evicting'} where this server cannot; or
--   {'appended', epoch, lease_ms, number, members}: the number from which on everybody knows all of them, and who was a
--   member when they were appended.
assert(#KEYS > 2 and #ARGV == 3 * (#KEYS - 2) + 1)
if evicts(KEYS[1]) then
  return { 'evicting' }
end
local epoch, _, last = log_of(KEYS[1], KEYS[2])
if not epoch then
  return { 'lost' }
end
local nonce, before, reached = string.match(epoch, ':(.+)$'), last, 0
for at = 3, #KEYS do
  local value, ends_at, text = unpack(ARGV, 3 * (at - 3) + 2, 3 * (at - 3) + 4)
  local number
  number, last = add(KEYS[2], KEYS[at], nonce, last, value, ends_at, text)
  reached = math.max(reached, number)
end
if last > before then
  redis.call('HSET', KEYS[1], 'last', last)
  wake(ARGV[1], 'appended')
end
return { 'appended', epoch, tonumber(redis.call('HGET', KEYS[1], 'lease_ms')), reached, members_of(KEYS[1]) }
