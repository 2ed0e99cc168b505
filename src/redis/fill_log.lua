-- Writes entries of the record into a log that is being built.
-- KEYS: 1 who is building, 2 log, then one for each entry
-- ARGV: 1 epoch of the log to be, 2 last number so far, then for each entry 1 value, 2 end (s since the epoch), 3 text
-- Returns the last number; nothing where somebody else is building, or the history is another: then it was for nothing.
assert(#KEYS > 2 and #ARGV == 3 * (#KEYS - 2) + 2)
if not is_building(KEYS[1], ARGV[1]) or redis.call('XLEN', KEYS[2]) ~= tonumber(ARGV[2]) then
  return false
end
local nonce, last, _ = string.match(ARGV[1], ':(.+)$'), tonumber(ARGV[2]), nil
for at = 3, #KEYS do
  local value, ends_at, text = unpack(ARGV, 3 * (at - 3) + 3, 3 * (at - 3) + 5)
  _, last = add(KEYS[2], KEYS[at], nonce, last, value, ends_at, text)
end
return last
