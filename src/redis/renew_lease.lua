-- Renews a lease: one write that a deposed or read-only server refuses, that says how far the member has come, and that
-- gives it what it does not know yet. Old entries go.
-- KEYS: 1 state, 2 log
-- ARGV: 1 member, or nothing for one that reads without a lease, 2 epoch under which it counts, 3 number of the last entry
--       that it has applied, 4 most entries of an answer, 5 how long entries are kept in ms, 6 channel
-- Returns {'lost'} where there is no epoch, {'evicting'}, {'strange'} where the epoch is another, the log has gone back or
-- there is no such member; or
--   {'page', lease_ms, last number of the log, entries, members}, entries as a flat list of number and text
assert(#KEYS == 2 and #ARGV == 6)
if evicts(KEYS[1]) then
  return { 'evicting' }
end
local epoch, first, last = log_of(KEYS[1], KEYS[2])
if not epoch then
  return { 'lost' }
end
if epoch ~= ARGV[2] or tonumber(ARGV[3]) > last then
  return { 'strange' }
end
local field = 'm:' .. ARGV[1]
local known = redis.call('HGET', KEYS[1], field)
if ARGV[1] ~= '' and not known then
  return { 'strange' }
end
-- Also for one that only reads: what a deposed server tells it must not count.
local beat = redis.call('HINCRBY', KEYS[1], 'beat', 1)
if known then
  redis.call('HSET', KEYS[1], field, ARGV[3] .. ':' .. beat)
  if string.match(known, '^%d+') ~= ARGV[3] then
    wake(ARGV[6], 'applied')
  end
end
local page = {}
if tonumber(ARGV[3]) < last then
  local from = '(' .. ARGV[3] .. '-0'
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', ARGV[4])) do
    table.insert(page, number_of(entry))
    table.insert(page, entry[2][4])
  end
end
trim(KEYS[1], KEYS[2], first, now_ms() - tonumber(ARGV[5]))
return { 'page', tonumber(redis.call('HGET', KEYS[1], 'lease_ms')), last, page, members_of(KEYS[1]) }
