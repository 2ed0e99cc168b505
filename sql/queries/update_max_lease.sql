-- Before a lease length ($1, in milliseconds) comes into force. Returns the previous maximum; null if there was none.
update settings set max_lease_ms = greatest(settings.max_lease_ms, $1)
from (select max_lease_ms from settings for update) as before
returning before.max_lease_ms
