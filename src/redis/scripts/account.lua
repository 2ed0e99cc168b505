-- Shared by the scripts that read or write a user. Of two writes, the larger generation and the larger version win.
--
-- The user's key is a hash: generation (integer), identity_version (integer), identity (JSON, opaque here), and
-- groups_version (integer): the version of the identity that contains groups. A replica of a version without groups
-- stores an identity without them and leaves groups_version unchanged. Such an identity is not current, so it is read
-- from PostgreSQL again. The key of a deleted user contains generation and erased, so that a late write can't store the
-- identity again.
-- A session's key is a hash: rotation_counter, rotated_at (ms; repeating a token doesn't change it), generation,
-- scope, client_id, auth_time (s), expires_at (s), and history_id. A revoked session also has revoked_reason, and
-- unpersisted until the revocation is committed in PostgreSQL.

local function store_generation(key, generation)
  local stored = tonumber(redis.call('HGET', key, 'generation') or '0')
  if tonumber(generation) > stored then
    redis.call('HSET', key, 'generation', generation)
  end
end

local function store_identity(key, version, identity)
  local stored = redis.call('HMGET', key, 'identity_version', 'identity', 'erased', 'groups_version')
  if stored[3] then
    return
  end
  local new, old = tonumber(version), tonumber(stored[1] or '-1')
  if not stored[2] or new > old or (new == old and stored[4] ~= stored[1]) then
    redis.call('HSET', key, 'identity_version', version, 'identity', identity, 'groups_version', version)
  end
end

-- Never shortens the lifetime: the user's key must outlive every session of the user.
local function extend_lifetime(key, milliseconds)
  if redis.call('PTTL', key) < tonumber(milliseconds) then
    redis.call('PEXPIRE', key, milliseconds)
  end
end

-- Reads a session and its user with two commands. is_current: everything that a rotation needs is here, and the
-- replication history has not changed since it was written.
local function load_session(session_key, user_key)
  local found = redis.call('HMGET', session_key, 'revoked_reason', 'unpersisted', 'rotation_counter', 'rotated_at',
    'generation', 'scope', 'client_id', 'auth_time', 'expires_at', 'history_id')
  local user = redis.call('HMGET', user_key, 'generation', 'identity', 'identity_version', 'groups_version')
  return {
    revoked_reason = found[1], unpersisted = found[2],
    rotation_counter = tonumber(found[3]), rotated_at = tonumber(found[4]),
    generation = found[5], scope = found[6], client_id = found[7], auth_time = found[8], expires_at = found[9],
    user_generation = user[1], identity = user[2],
    is_current = found[10] and user[1] and user[2] and user[3] == user[4] and history_matches(found[10])
  }
end
