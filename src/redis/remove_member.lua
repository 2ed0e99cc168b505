-- Takes a member off the list: one that says so itself, or one that has not renewed since somebody saw its beat.
-- KEYS: 1 state
-- ARGV: 1 member, 2 epoch under which its beat was seen and 3 that beat, or nothing for both where it leaves by itself,
--       4 channel
-- Returns 1 where it is gone by this, else 0: it has renewed meanwhile, or was no member.
assert(#KEYS == 1 and #ARGV == 4)
local field = 'm:' .. ARGV[1]
local known = redis.call('HGET', KEYS[1], field)
if not known then
  return 0
end
if ARGV[3] ~= '' then
  local beat = string.match(known, ':(%d+)$')
  if beat ~= ARGV[3] or redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then
    return 0
  end
end
redis.call('HDEL', KEYS[1], field)
wake(ARGV[4], 'applied')
return 1
