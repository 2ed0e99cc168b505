-- What is known of a session, changing nothing.
-- KEYS: 1 session, 2 account
-- ARGV: none
-- Returns: counter, rotated_at (ms), generation of the session, generation of the account, reason of the tombstone, and 1
-- where it is at home; each nothing where it is not known.
assert(#KEYS == 2 and #ARGV == 0)
local known = redis.call('HMGET', KEYS[1], 'counter', 'rotated_at', 'gen', 'ended')
local generation = redis.call('HGET', KEYS[2], 'gen')
local at_home = is_at_home(KEYS[1], KEYS[2]) and 1 or false
return { known[1], known[2], known[3], generation, known[4], at_home }
