-- The store or the mail server said at once that it cannot: no need to wait as long as for a replica that died.
update outbox set next_attempt_at = least(next_attempt_at, now() + interval '1 second' * least(60, power(2, least(attempts, 7) - 1))) where id = $1
