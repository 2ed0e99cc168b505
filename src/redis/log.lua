-- Shared by the scripts of the revocation log.
--
-- The state is one hash, so that all of it vanishes together: epoch (<replication id of the master>:<nonce>), lease_ms,
-- first and last (numbers of the log's ends), beat (a counter that never repeats under an epoch), and for each member
-- m:<id>, which is <applied>:<beat>.
-- The log is a stream: entry <number>-0 has the fields at (ms) and entry (text, opaque here). Numbers are dense.
-- An entry's own key holds <value> <number> <nonce of the epoch>, and lives as long as the entry.

-- Whether this server forgets keys when its memory is full: then that one is missing says nothing, not even after the
-- setting was mended, so the epoch is over.
local function evicts(state)
  local info = redis.call('INFO', 'memory')
  if string.find(info, 'maxmemory:0\r', 1, true) or string.find(info, 'maxmemory_policy:noeviction', 1, true) then
    return false
  end
  redis.call('DEL', state)
  return true
end

-- Whether an epoch is one of the history that this server is the master of.
local function is_of_here(epoch)
  local here = mastered()
  return here and string.sub(epoch, 1, #here + 1) == here .. ':'
end

-- The epoch, if it is that of this server. A flush takes the state along; a restart or a failover changes the history.
local function epoch_of(state)
  local epoch = redis.call('HGET', state, 'epoch')
  return epoch and is_of_here(epoch) and epoch or nil
end

local function number_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

-- The epoch of this server, and the first and the last number of its log; nothing where there is no epoch, or where the log
-- is not as long as the state says, or has other ends.
local function log_of(state, log)
  local epoch = epoch_of(state)
  if not epoch then
    return nil
  end
  local ends = redis.call('HMGET', state, 'first', 'last')
  local first, last = tonumber(ends[1]), tonumber(ends[2])
  if redis.call('XLEN', log) ~= last - first + 1 then
    return nil
  end
  if last >= first then
    local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    if number_of(oldest) ~= first or number_of(newest) ~= last then
      return nil
    end
  end
  return epoch, first, last
end

-- Wakes whoever listens, where this user may: without it all of this takes a little longer, and is as right.
local function wake(channel, why)
  redis.pcall('PUBLISH', channel, why)
end

-- Writes an entry's key, and appends the entry unless the log of this epoch says as much already. The larger value and
-- the later end win. Returns the number of the entry, and the last number of the log.
local function add(log, key, nonce, last, value, ends_at, text)
  local known, number, under = string.match(redis.call('GET', key) or '', '^(%d+) (%d+) (.+)$')
  local ends_ms, known_ms = tonumber(ends_at) * 1000, redis.call('PEXPIRETIME', key)
  -- A little later is as good: who signs out again and again makes nothing grow.
  if known and under == nonce and tonumber(known) >= tonumber(value) and ends_ms <= known_ms + 300000 then
    return tonumber(number), last
  end
  last = last + 1
  redis.call('XADD', log, last .. '-0', 'at', now_ms(), 'entry', text)
  if known and tonumber(known) > tonumber(value) then
    value = known
  end
  redis.call('SET', key, value .. ' ' .. last .. ' ' .. nonce, 'PXAT', string.format('%.0f', math.max(ends_ms, known_ms)))
  return last, last
end

-- The members, as a flat list: id, position and beat of each.
local function members_of(state)
  local members = {}
  local fields = redis.call('HGETALL', state)
  for at = 1, #fields, 2 do
    local id = string.match(fields[at], '^m:(.+)$')
    if id then
      local applied, beat = string.match(fields[at + 1], '^(%d+):(%d+)$')
      table.insert(members, id)
      table.insert(members, applied)
      table.insert(members, beat)
    end
  end
  return members
end

-- Lets entries go that were appended before a moment (ms), some at a time: by age only, so that no flood pushes one out.
local function trim(state, log, first, before)
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  if not oldest or tonumber(oldest[2][2]) >= before then
    return
  end
  for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', 500)) do
    if tonumber(entry[2][2]) >= before then
      break
    end
    first = number_of(entry) + 1
  end
  redis.call('XTRIM', log, 'MINID', first .. '-0')
  redis.call('HSET', state, 'first', first)
end

-- Whether the log under this epoch is still the one that is being built. A flush, a failover or somebody else who began
-- later makes it fail: so a builder that was paused spoils nothing.
local function is_building(key, epoch)
  return redis.call('GET', key) == epoch and is_of_here(epoch)
end
