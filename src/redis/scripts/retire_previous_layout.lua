-- Prevents replicas of an older version, whose keys don't contain the database ID, from using this Redis. Otherwise a
-- sign-out at one version would not reach the other. All scripts of their log fail: the renewal counter isn't a number,
-- and the sequence number can't be incremented. So PostgreSQL serves their checks, and their sign-outs are unavailable.
-- KEYS: 1 state, 2 log, and 3 fence of the previous layout, 4 state of this layout
-- ARGV: 1 lifetime in ms of what this script writes, 2 members that have stopped, as this script has returned them
-- Returns {'retired'}; {'in_use', members, members as text} while they have other members; or {'mixed'} if replicas of
--   both versions have used this Redis, so that it contains outdated sessions
assert(#KEYS == 4 and #ARGV == 2)
local retired = primary_history_id() .. ':retired'
local epoch_id = redis.call('HGET', KEYS[1], 'epoch_id')
if epoch_id ~= retired then
  local members = members_of(KEYS[1])
  local text = table.concat(members, ' ')
  if #members > 0 and ARGV[2] ~= text then
    return { 'in_use', members, text }
  end
  if epoch_id and not string.find(epoch_id, ':retired', 1, true) and redis.call('EXISTS', KEYS[4]) == 1 then
    return { 'mixed' }
  end
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  local sequence = '9000000000000000'
  redis.call('XADD', KEYS[2], sequence .. '-0', 'at', now_ms(), 'entry', 'retired')
  redis.call('HSET', KEYS[1], 'epoch_id', retired, 'lease_ms', 250, 'first_seq', sequence, 'last_seq', sequence,
    'renewal_counter', 'retired')
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return { 'retired' }
