-- Renews a lease: stores the acknowledged position of the member and returns the entries after it. A deposed or
-- read-only server rejects the write. Removes old entries.
-- KEYS: 1 state, 2 log
-- ARGV: 1 member ID, empty for a reader without a lease, 2 epoch ID, 3 acknowledged position, 4 maximum number of
--       entries to return, 5 retention of entries in ms, 6 channel
-- Returns {'lost'} if there is no epoch, {'evicting'}, {'epoch_changed'} if the epoch differs, the log is shorter than
-- the position, or the member is not registered; or
--   {'page', lease_ms, last sequence number, entries, members}, entries as a flat list of sequence number and text
assert(#KEYS == 2 and #ARGV == 6)
if evicts(KEYS[1]) then
  return { 'evicting' }
end
local epoch_id, first, last = log_of(KEYS[1], KEYS[2])
if not epoch_id then
  return { 'lost' }
end
if epoch_id ~= ARGV[2] or tonumber(ARGV[3]) > last then
  return { 'epoch_changed' }
end
local field = 'member:' .. ARGV[1]
local stored = redis.call('HGET', KEYS[1], field)
if ARGV[1] ~= '' and not stored then
  return { 'epoch_changed' }
end
-- Also for a reader: the response of a deposed server must not count.
local renewal_counter = redis.call('HINCRBY', KEYS[1], 'renewal_counter', 1)
if stored then
  redis.call('HSET', KEYS[1], field, ARGV[3] .. ':' .. renewal_counter)
  if string.match(stored, '^%d+') ~= ARGV[3] then
    notify(ARGV[6], 'acknowledged')
  end
end
local page = {}
if tonumber(ARGV[3]) < last then
  local from = '(' .. ARGV[3] .. '-0'
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', ARGV[4])) do
    table.insert(page, sequence_of(entry))
    table.insert(page, entry[2][4])
  end
end
trim(KEYS[1], KEYS[2], first, now_ms() - tonumber(ARGV[5]))
return { 'page', tonumber(redis.call('HGET', KEYS[1], 'lease_ms')), last, page, members_of(KEYS[1]) }
