-- A lease of this length (ms) is about to come into force. Returns the longest that may be out there already; nothing where
-- there was never one.
update settings set longest_lease = greatest(settings.longest_lease, $1)
from (select longest_lease from settings for update) as before
returning before.longest_lease
