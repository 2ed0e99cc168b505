-- Shared by the scripts that touch an account. Of two writes the larger generation and the larger version win.
--
-- The account's key is a hash: gen (integer), version (integer) and identity (JSON, opaque here).
-- A session's key is a hash: counter, rotated_at (ms), gen, scope, client_id, auth_time (s), ends_at (s), home; and
-- ended (the reason) with unrecorded (the record does not know it yet) once it has ended.

local function store_generation(key, generation)
  local known = tonumber(redis.call('HGET', key, 'gen') or '0')
  if tonumber(generation) > known then
    redis.call('HSET', key, 'gen', generation)
  end
end

local function store_identity(key, version, identity)
  local known = redis.call('HMGET', key, 'version', 'identity')
  if not known[2] or tonumber(version) > tonumber(known[1] or '-1') then
    redis.call('HSET', key, 'version', version, 'identity', identity)
  end
end

-- Never shortens: the key must outlive every session of the account.
local function keep_for(key, milliseconds)
  if redis.call('PTTL', key) < tonumber(milliseconds) then
    redis.call('PEXPIRE', key, milliseconds)
  end
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The history that this server's data belong to. A restart or a failover begins another one, and with it whatever was
-- written before may be older than what was answered.
local function home()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end

-- Whether all that refreshing needs is here, and nothing of it can be stale.
local function is_at_home(session, account)
  local known = redis.call('HMGET', account, 'gen', 'identity')
  return known[1] and known[2] and redis.call('HGET', session, 'home') == home()
end
