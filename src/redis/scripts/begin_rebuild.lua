-- Begins a rebuild of the revocation log from PostgreSQL. Deletes the existing log, so that no check trusts a missing
-- entry. Existing leases expire on their own.
-- KEYS: 1 state, 2 log, 3 fence
-- ARGV: 1 nonce, 2 valid epoch to replace, or empty, 3 lifetime of the fence in ms
-- Returns {'complete'} if there is a valid epoch; or {'begun', epoch_id}, the ID of the epoch to build
assert(#KEYS == 3 and #ARGV == 3)
local valid = log_of(KEYS[1], KEYS[2])
if valid and valid ~= ARGV[2] then
  return { 'complete' }
end
local epoch_id = primary_history_id() .. ':' .. ARGV[1]
redis.call('SET', KEYS[3], epoch_id, 'PX', ARGV[3])
redis.call('DEL', KEYS[1], KEYS[2])
return { 'begun', epoch_id }
