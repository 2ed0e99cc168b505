-- Whoever builds the log says nothing here while leases end, which takes less than four seconds. If it stands still, or its
-- line was lost, another takes over.
set local idle_in_transaction_session_timeout = '10s'
