-- Shared by all scripts that need the clock or the replication history of this server. A restart or a failover begins
-- another history. Data written under a previous history might be older than what clients have received.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function history_id()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end

-- Whether this is the current history. A plain search is cheaper than a pattern match.
local function history_matches(history)
  return string.find(redis.call('INFO', 'replication'), 'master_replid:' .. history, 1, true) ~= nil
end

-- The history of which this server is the primary. The error of a follower makes the caller connect to the primary.
local function primary_history_id()
  local info = redis.call('INFO', 'replication')
  if not string.find(info, 'role:master', 1, true) then
    error({ err = 'NOTPRIMARY this server is a follower' })
  end
  return string.match(info, 'master_replid:(%x+)')
end
