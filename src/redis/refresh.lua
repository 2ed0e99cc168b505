-- Shared by the scripts that exchange a refresh token, for a session at home that has not ended.
-- Returns
--   'rotated', session   the counter was the current one, and has risen
--   'repeated', session  the counter was the one before, a moment ago: the same child again
--   'over'               past its absolute end, or of a generation that was ended
--   'reused'             any other counter; the tombstone is written here, so that no failure after this line helps a thief
-- where session is counter, rotated_at (ms), gen, scope, client_id, auth_time, ends_at, identity.
local function exchange(session, account, presented, idle, grace, tombstone)
  local now = now_ms()
  local known = redis.call('HMGET', session, 'counter', 'rotated_at', 'gen', 'ends_at')
  local counter, rotated_at = tonumber(known[1]), tonumber(known[2])
  local left = tonumber(known[4]) * 1000 - now
  if left <= 0 or tonumber(known[3]) < tonumber(redis.call('HGET', account, 'gen')) then
    return { 'over' }
  end
  local word = 'repeated'
  if presented == counter then
    word = 'rotated'
    redis.call('HSET', session, 'counter', counter + 1, 'rotated_at', now)
    local lifetime = math.min(left, idle)
    redis.call('PEXPIRE', session, lifetime)
    keep_for(account, lifetime)
  elseif presented ~= counter - 1 or now - rotated_at >= grace then
    redis.call('HSET', session, 'ended', 'reuse', 'unrecorded', 1)
    keep_for(session, tombstone)
    return { 'reused' }
  end
  local told = redis.call('HMGET', session, 'counter', 'rotated_at', 'gen', 'scope', 'client_id', 'auth_time', 'ends_at')
  told[8] = redis.call('HGET', account, 'identity')
  return { word, told }
end
