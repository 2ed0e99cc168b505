-- Appends entries to the log and writes their denylist keys: all of them, or none if there is no epoch.
-- KEYS: 1 state, 2 log, then one per entry
-- ARGV: 1 channel, then per entry 1 value (a generation, or 1 for a flag), 2 expiry (s since the Unix epoch), 3 text
-- Returns {'lost'} if there is no valid log, {'evicting'}; or
--   {'appended', epoch_id, lease_ms, sequence number, members}: the position of a member that has applied all of them,
--   and the members at the time of the append
assert(#KEYS > 2 and #ARGV == 3 * (#KEYS - 2) + 1)
if evicts(KEYS[1]) then
  return { 'evicting' }
end
local epoch_id, _, last = log_of(KEYS[1], KEYS[2])
if not epoch_id then
  return { 'lost' }
end
local nonce, before, reached = string.match(epoch_id, ':(.+)$'), last, 0
for index = 3, #KEYS do
  local value, expires_at, text = unpack(ARGV, 3 * (index - 3) + 2, 3 * (index - 3) + 4)
  local sequence
  sequence, last = add_entry(KEYS[2], KEYS[index], nonce, last, value, expires_at, text)
  reached = math.max(reached, sequence)
end
if last > before then
  redis.call('HSET', KEYS[1], 'last_seq', last)
  notify(ARGV[1], 'appended')
end
return { 'appended', epoch_id, tonumber(redis.call('HGET', KEYS[1], 'lease_ms')), reached, members_of(KEYS[1]) }
