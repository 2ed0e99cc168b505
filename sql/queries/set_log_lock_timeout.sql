-- While leases expire, the rebuilder is idle for less than four seconds. If it hangs or loses its connection, another
-- replica can take over after this timeout.
set local idle_in_transaction_session_timeout = '10s'
