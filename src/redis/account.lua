-- Shared by the scripts that touch an account's key. Of two writes the larger generation and the larger version win.
--
-- The key is a hash: gen (integer), version (integer) and identity (JSON, opaque here).

local function store_generation(key, generation)
  local known = tonumber(redis.call('HGET', key, 'gen') or '0')
  if tonumber(generation) > known then
    redis.call('HSET', key, 'gen', generation)
  end
end

local function store_identity(key, version, identity)
  local known = tonumber(redis.call('HGET', key, 'version') or '-1')
  if tonumber(version) > known then
    redis.call('HSET', key, 'version', version, 'identity', identity)
  end
end

-- Never shortens: the key must outlive every session of the account.
local function keep_for(key, milliseconds)
  if redis.call('PTTL', key) < tonumber(milliseconds) then
    redis.call('PEXPIRE', key, milliseconds)
  end
end
