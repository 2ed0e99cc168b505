-- The record's own clock: what was committed is compared with what it says, not with ours.
select now()
