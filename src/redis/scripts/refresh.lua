-- The total length of the outages of Redis within the last `age` ms. outages: per outage its begin and its end, as ms
-- before now.
local function downtime_within(age, outages)
  local downtime = 0
  for began, ended in string.gmatch(outages, '(%d+)-(%d+)') do
    downtime = downtime + math.max(0, math.min(age, tonumber(began)) - tonumber(ended))
  end
  return downtime
end

-- Shared by the scripts that rotate a refresh token of a current session that is not revoked; cached is the result of
-- `load_session`. Returns
--   'rotated', session   the counter was the current one, and was incremented
--   'repeated', session  the counter was the previous one, within the reuse interval after its rotation, without
--                        outages: the same refresh token again
--   'expired'            after the maximum lifetime, or of a revoked generation
--   'reused'             a smaller counter. The tombstone is written here, so that no later failure helps an attacker
-- If the presented counter is larger, the caller must restore the session first.
-- where session is rotation_counter, rotated_at (ms), generation, scope, client_id, auth_time, expires_at, identity.
local function exchange(session_key, user_key, cached, presented, idle_timeout, reuse_interval, tombstone, outages)
  local now = now_ms()
  local counter, rotated_at = cached.rotation_counter, cached.rotated_at
  local age = now - rotated_at
  local left = tonumber(cached.expires_at) * 1000 - now
  if left <= 0 or tonumber(cached.generation) < tonumber(cached.user_generation) then
    return { 'expired' }
  end
  local status = 'repeated'
  if presented == counter then
    status, counter, rotated_at = 'rotated', counter + 1, now
    redis.call('HSET', session_key, 'rotation_counter', counter, 'rotated_at', now)
    local lifetime = math.min(left, idle_timeout)
    redis.call('PEXPIRE', session_key, lifetime)
    -- Like `extend_lifetime`, in one command, for a key that already has an expiry.
    redis.call('PEXPIRE', user_key, lifetime, 'GT')
  elseif presented ~= counter - 1 or age - downtime_within(age, outages) >= reuse_interval then
    redis.call('HSET', session_key, 'revoked_reason', 'refresh_token_reused', 'unpersisted', 1)
    extend_lifetime(session_key, tombstone)
    return { 'reused' }
  end
  return { status, { counter, rotated_at, cached.generation, cached.scope, cached.client_id, cached.auth_time,
    cached.expires_at, cached.identity } }
end
