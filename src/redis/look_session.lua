-- What is known of a session, changing nothing.
-- KEYS: 1 session, 2 account
-- ARGV: none
-- Returns: counter, rotated_at (ms), generation of the session, generation of the account, reason of the tombstone, 1 where
-- it is at home, and its scope; each nothing where it is not known.
assert(#KEYS == 2 and #ARGV == 0)
local known = look(KEYS[1], KEYS[2])
return { known.counter or false, known.rotated_at or false, known.gen, known.account_gen, known.ended,
  known.at_home and 1 or false, known.scope }
