-- Ends a reservation: the code was used up, or it may be tried again.
-- KEYS: 1 code
-- ARGV: 1 row of the outbox, 2 'used' or 'released'
-- Returns: 'finished'. A newer code is left alone.
assert(#KEYS == 1 and #ARGV == 2)
if redis.call('HGET', KEYS[1], 'row') == ARGV[1] then
  if ARGV[2] == 'used' then
    redis.call('DEL', KEYS[1])
  else
    redis.call('HDEL', KEYS[1], 'reserved_until')
  end
end
return 'finished'
