-- Held, so that nothing which ends everything of the user leaves a token behind that is made at the same moment; and those
-- that are made at the same moment are counted one after the other.
select from users where id = $1 and gen = $2 and not disabled for update
