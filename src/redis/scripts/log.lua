-- Shared by the scripts of the revocation log.
--
-- The state is one hash, so that all its fields vanish together: epoch_id (<replication ID of the primary>:<nonce>),
-- lease_ms, first_seq and last_seq (first and last sequence number of the log), renewal_counter (never repeats within
-- an epoch), and per member member:<id>, which is <acknowledged position>:<renewal counter>.
-- The log is a stream: entry <sequence number>-0 has the fields at (ms) and entry (text, opaque here). Sequence numbers
-- have no gaps.
-- A denylist key holds <value> <sequence number> <nonce of the epoch>, and expires with its entry.

-- Whether this server evicts keys when its memory is full. Then a missing key proves nothing, even after the setting is
-- corrected, so the epoch becomes invalid.
local function evicts(state)
  local info = redis.call('INFO', 'memory')
  if string.find(info, 'maxmemory:0\r', 1, true) or string.find(info, 'maxmemory_policy:noeviction', 1, true) then
    return false
  end
  redis.call('DEL', state)
  return true
end

-- Whether an epoch belongs to the history of which this server is the primary.
local function belongs_here(epoch_id)
  local history = primary_history_id()
  return string.sub(epoch_id, 1, #history + 1) == history .. ':'
end

-- Fails while replicas of an older version use this Redis. Their keys don't contain the database ID, so sign-outs would
-- not reach each other. Their rebuilder sets the fence before it waits for leases. `retire_previous_layout.lua` prevents
-- that.
local function reject_older_replicas(state)
  local previous = string.gsub(state, ':%x+:{rev}:state$', ':{rev}:state')
  if previous == state then
    return
  end
  local epoch_id = redis.call('HGET', previous, 'epoch_id')
  local is_valid = epoch_id and not string.find(epoch_id, ':retired', 1, true)
  if is_valid or redis.call('EXISTS', (string.gsub(previous, 'state$', 'fence'))) == 1 then
    error({ err = 'OLDERREPLICAS replicas of an older version use this Redis' })
  end
end

-- The epoch, if it belongs to this server. A flush deletes the state; a restart or a failover changes the history.
local function epoch_of(state)
  reject_older_replicas(state)
  local epoch_id = redis.call('HGET', state, 'epoch_id')
  return epoch_id and belongs_here(epoch_id) and epoch_id or nil
end

local function sequence_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

-- The epoch of this server, and the first and last sequence number of its log; nothing if there is no epoch, or if the
-- length or the ends of the log differ from the state.
local function log_of(state, log)
  local epoch_id = epoch_of(state)
  if not epoch_id then
    return nil
  end
  local ends = redis.call('HMGET', state, 'first_seq', 'last_seq')
  local first, last = tonumber(ends[1]), tonumber(ends[2])
  if redis.call('XLEN', log) ~= last - first + 1 then
    return nil
  end
  if last >= first then
    local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    if sequence_of(oldest) ~= first or sequence_of(newest) ~= last then
      return nil
    end
  end
  return epoch_id, first, last
end

-- Publishes a notification, if the Redis user has the permission. Without notifications, revocations only take longer.
local function notify(channel, message)
  redis.pcall('PUBLISH', channel, message)
end

-- Writes an entry's denylist key, and appends the entry unless the log of this epoch already contains it. The larger
-- value and the later expiry win. Returns the sequence number of the entry, and the last sequence number of the log.
local function add_entry(log, key, nonce, last, value, expires_at, text)
  local stored, sequence, stored_nonce = string.match(redis.call('GET', key) or '', '^(%d+) (%d+) (.+)$')
  local expires_ms, stored_expiry_ms = tonumber(expires_at) * 1000, redis.call('PEXPIRETIME', key)
  -- A slightly later expiry counts as contained, so repeated sign-outs don't grow the log.
  if stored and stored_nonce == nonce and tonumber(stored) >= tonumber(value)
    and expires_ms <= stored_expiry_ms + 300000 then
    return tonumber(sequence), last
  end
  last = last + 1
  redis.call('XADD', log, last .. '-0', 'at', now_ms(), 'entry', text)
  if stored and tonumber(stored) > tonumber(value) then
    value = stored
  end
  redis.call('SET', key, value .. ' ' .. last .. ' ' .. nonce, 'PXAT',
    string.format('%.0f', math.max(expires_ms, stored_expiry_ms)))
  return last, last
end

-- The members, as a flat list: ID, acknowledged position, and renewal counter of each.
local function members_of(state)
  local members = {}
  local fields = redis.call('HGETALL', state)
  for index = 1, #fields, 2 do
    local id = string.match(fields[index], '^member:(.+)$')
    if id then
      local acknowledged, renewal_counter = string.match(fields[index + 1], '^(%d+):(%d+)$')
      table.insert(members, id)
      table.insert(members, acknowledged)
      table.insert(members, renewal_counter)
    end
  end
  return members
end

-- Removes entries that were appended before a time (ms), up to 500 at a time. By age only, so that no burst of entries
-- displaces another entry.
local function trim(state, log, first, before)
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  if not oldest or tonumber(oldest[2][2]) >= before then
    return
  end
  for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', 500)) do
    if tonumber(entry[2][2]) >= before then
      break
    end
    first = sequence_of(entry) + 1
  end
  redis.call('XTRIM', log, 'MINID', first .. '-0')
  redis.call('HSET', state, 'first_seq', first)
end

-- Whether the fence of this rebuild is unchanged. A flush, a failover, or a later rebuilder breaks it, so a rebuilder
-- that was paused can't damage the log.
local function fence_holds(key, epoch_id)
  return redis.call('GET', key) == epoch_id and belongs_here(epoch_id)
end
