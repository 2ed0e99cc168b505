-- Shared by all scripts that ask what this server is: its clock, and the history that its data belong to. A restart or a
-- failover begins another history, and with it whatever was written before may be older than what was answered.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function home()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end

-- Whether what was written under this history belongs to that of now. To look for a text is cheaper than to match a pattern.
local function is_home(history)
  return string.find(redis.call('INFO', 'replication'), 'master_replid:' .. history, 1, true) ~= nil
end

-- The history, if this server is the master of it.
local function mastered()
  local info = redis.call('INFO', 'replication')
  return string.find(info, 'role:master', 1, true) and string.match(info, 'master_replid:(%x+)')
end
