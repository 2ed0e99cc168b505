-- Shared by the scripts that exchange a refresh token, for a session at home that has not ended; known is what `look` told.
-- Returns
--   'rotated', session   the counter was the current one, and has risen
--   'repeated', session  the counter was the one before, a moment ago: the same child again
--   'over'               past its absolute end, or of a generation that was ended
--   'reused'             any other counter; the tombstone is written here, so that no failure after this line helps a thief
-- where session is counter, rotated_at (ms), gen, scope, client_id, auth_time, ends_at, identity.
local function exchange(session, account, known, presented, idle, grace, tombstone)
  local now = now_ms()
  local counter, rotated_at = known.counter, known.rotated_at
  local left = tonumber(known.ends_at) * 1000 - now
  if left <= 0 or tonumber(known.gen) < tonumber(known.account_gen) then
    return { 'over' }
  end
  local word = 'repeated'
  if presented == counter then
    word, counter, rotated_at = 'rotated', counter + 1, now
    redis.call('HSET', session, 'counter', counter, 'rotated_at', now)
    local lifetime = math.min(left, idle)
    redis.call('PEXPIRE', session, lifetime)
    -- What `keep_for` does, for a key that has an end already: in one call.
    redis.call('PEXPIRE', account, lifetime, 'GT')
  elseif presented ~= counter - 1 or now - rotated_at >= grace then
    redis.call('HSET', session, 'ended', 'reuse', 'unrecorded', 1)
    keep_for(session, tombstone)
    return { 'reused' }
  end
  return { word, { counter, rotated_at, known.gen, known.scope, known.client_id, known.auth_time, known.ends_at,
    known.identity } }
end
