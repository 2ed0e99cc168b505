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

-- All that is known of a session and of its account, in two reads, and whether it can be relied on: all that refreshing
-- needs is here, and nothing of it can be stale.
local function look(session, account)
  local here = redis.call('HMGET', session, 'ended', 'unrecorded', 'counter', 'rotated_at', 'gen', 'scope', 'client_id',
    'auth_time', 'ends_at', 'home')
  local whose = redis.call('HMGET', account, 'gen', 'identity')
  return {
    ended = here[1], unrecorded = here[2], counter = tonumber(here[3]), rotated_at = tonumber(here[4]), gen = here[5],
    scope = here[6], client_id = here[7], auth_time = here[8], ends_at = here[9],
    account_gen = whose[1], identity = whose[2],
    at_home = here[10] and whose[1] and whose[2] and is_home(here[10])
  }
end
