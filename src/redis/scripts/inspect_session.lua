-- Reads a session without changing it.
-- KEYS: 1 session, 2 user
-- ARGV: none
-- Returns: rotation_counter, rotated_at (ms), generation of the session, generation of the user, revoked_reason, 1 if
-- it is current, and its scope; nothing in place of an unknown value.
assert(#KEYS == 2 and #ARGV == 0)
local cached = load_session(KEYS[1], KEYS[2])
return { cached.rotation_counter or false, cached.rotated_at or false, cached.generation, cached.user_generation,
  cached.revoked_reason, cached.is_current and 1 or false, cached.scope }
