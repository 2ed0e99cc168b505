-- Reads a session without changing it.
-- KEYS: 1 session, 2 user
-- ARGV: none
-- Returns: rotation_counter, rotated_at (ms), generation of the session, generation of the user, revoked_reason, 1 if
-- it is current, and its scope; nothing in place of an unknown value.
assert(#KEYS == 2 and #ARGV == 0)
local known = load(KEYS[1], KEYS[2])
return { known.rotation_counter or false, known.rotated_at or false, known.generation, known.user_generation,
  known.revoked_reason, known.is_current and 1 or false, known.scope }
