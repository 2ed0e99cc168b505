-- Writes entries from PostgreSQL into a log that is being rebuilt.
-- KEYS: 1 fence, 2 log, then one per entry
-- ARGV: 1 ID of the epoch to build, 2 last sequence number so far, then per entry 1 value, 2 expiry (s since the Unix
--   epoch), 3 text
-- Returns the last sequence number; nothing if another rebuilder has begun or the history has changed. Then the rebuild
-- must start again.
assert(#KEYS > 2 and #ARGV == 3 * (#KEYS - 2) + 2)
if not fence_holds(KEYS[1], ARGV[1]) or redis.call('XLEN', KEYS[2]) ~= tonumber(ARGV[2]) then
  return false
end
local nonce, last, _ = string.match(ARGV[1], ':(.+)$'), tonumber(ARGV[2]), nil
for index = 3, #KEYS do
  local value, expires_at, text = unpack(ARGV, 3 * (index - 3) + 3, 3 * (index - 3) + 5)
  _, last = add_entry(KEYS[2], KEYS[index], nonce, last, value, expires_at, text)
end
return last
