-- The one before it was taken back: what is published already signs at once.
update signing_keys set signs_from = clock_timestamp() where kid = $1
