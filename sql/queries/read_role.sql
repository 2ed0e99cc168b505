-- The role of this server: primary, standby, or read_only.
select case
    when pg_is_in_recovery() then 'standby'
    when current_setting('transaction_read_only') = 'on' then 'read_only'
    else 'primary'
end
