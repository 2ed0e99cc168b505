-- Puts entries on the denylist. Of two entries for one subject the larger generation and the later end win.
-- KEYS: one for each entry
-- ARGV: for each entry, value (a generation, or 1 for a flag) and lifetime in ms
-- Returns: 'revoked'
assert(#KEYS > 0 and #ARGV == 2 * #KEYS)
for at, key in ipairs(KEYS) do
  local value, lifetime = ARGV[2 * at - 1], ARGV[2 * at]
  local known = tonumber(redis.call('GET', key) or '0')
  if tonumber(value) > known then
    redis.call('SET', key, value, 'KEEPTTL')
  end
  if redis.call('PTTL', key) < tonumber(lifetime) then
    redis.call('PEXPIRE', key, lifetime)
  end
end
return 'revoked'
