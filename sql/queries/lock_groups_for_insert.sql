-- Concurrent inserts wait here and then count each other's groups. Reads and assignments continue.
lock table groups in share row exclusive mode
