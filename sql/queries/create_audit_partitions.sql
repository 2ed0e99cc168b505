select create_audit_partitions()
