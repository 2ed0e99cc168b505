-- Prevents that replicas of the previous version, whose keys don't contain the ID of the database, use this Redis beside
-- this one: sign-outs would not reach each other. Their log gets an entry that they can't read, so they report a newer
-- version, and a sequence number after which they can't append.
-- KEYS: 1 state and 2 log of the previous version
-- ARGV: 1 lifetime in ms of what this script writes, 2 '1' if their members have stopped
-- Returns {'retired'}; or {'in_use', members} while they have members
assert(#KEYS == 2 and #ARGV == 2)
local epoch_id = primary_history_id() .. ':retired'
if redis.call('HGET', KEYS[1], 'epoch_id') ~= epoch_id then
  local members = members_of(KEYS[1])
  if #members > 0 and ARGV[2] ~= '1' then
    return { 'in_use', members }
  end
  redis.call('DEL', KEYS[1], KEYS[2])
  local sequence = '9000000000000000'
  redis.call('XADD', KEYS[2], sequence .. '-0', 'at', now_ms(), 'entry', 'retired')
  redis.call('HSET', KEYS[1], 'epoch_id', epoch_id, 'lease_ms', 250, 'first_seq', sequence, 'last_seq', sequence,
    'renewal_counter', 0)
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return { 'retired' }
