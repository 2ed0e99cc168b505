-- Ends the reservation of a one-time code: the code was used, or can be presented again.
-- KEYS: 1 code
-- ARGV: 1 email ID, 2 'used' or 'released'
-- Returns: 'finished'. A newer code is not changed.
assert(#KEYS == 1 and #ARGV == 2)
if redis.call('HGET', KEYS[1], 'email_id') == ARGV[1] then
  if ARGV[2] == 'used' then
    redis.call('DEL', KEYS[1])
  else
    redis.call('HDEL', KEYS[1], 'reserved_until')
  end
end
return 'finished'
