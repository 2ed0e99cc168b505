-- Exchanges a refresh token.
-- KEYS: 1 session, 2 account
-- ARGV: 1 counter presented, 2 idle lifetime in ms, 3 grace in ms, 4 lifetime of a tombstone in ms
-- Returns what `exchange` returns, or
--   'ended', 1   it has ended by reuse, and nobody has written that into the record yet
--   'ended'      it has ended otherwise
--   'away', now  the session must be adopted from the record first; now (ms) is when this was seen
assert(#KEYS == 2 and #ARGV == 4)
local known = look(KEYS[1], KEYS[2])
if known.ended then
  return { 'ended', known.unrecorded }
end
if not known.at_home then
  return { 'away', now_ms() }
end
return exchange(KEYS[1], KEYS[2], known, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4])
