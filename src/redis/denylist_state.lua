-- Whether the denylist is complete: whoever finds it lost fills it from the record.
-- KEYS: 1 mark, 2 who is filling it
-- ARGV: 1 'look', 'begin' or 'finish', 2 a nonce (to begin) or the token that beginning gave (to finish),
--       3 how long filling may take in ms
-- Returns: 'complete', 'lost', or for 'begin' a token. Several may fill at once, under one token, because each publishes
-- all there is; a flush or a failover in between takes the token, and with it what any of them had published.
assert(#KEYS == 2 and #ARGV == 3)
local here = home()
if redis.call('GET', KEYS[1]) == here then
  return 'complete'
end
local token = redis.call('GET', KEYS[2])
if ARGV[1] == 'begin' then
  -- The mark of another history, if there is one, must convince no check meanwhile.
  redis.call('DEL', KEYS[1])
  if not token or string.sub(token, 1, #here) ~= here then
    token = here .. ':' .. ARGV[2]
  end
  redis.call('SET', KEYS[2], token, 'PX', ARGV[3])
  return token
end
if ARGV[1] == 'finish' and token == ARGV[2] and string.sub(token, 1, #here) == here then
  redis.call('SET', KEYS[1], here)
  redis.call('DEL', KEYS[2])
  return 'complete'
end
return 'lost'
