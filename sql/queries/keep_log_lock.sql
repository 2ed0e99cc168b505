-- Whoever builds the log waits for leases to end, and says nothing here meanwhile. Not for ever: its line may be lost.
set local idle_in_transaction_session_timeout = '10min'
