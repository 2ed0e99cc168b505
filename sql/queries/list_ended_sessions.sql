-- The sessions of a user that ended so short a time ago that a token of theirs may still live. Whoever ends what has ended
-- already may be told so only when that has been heard everywhere.
select sid from sessions
where user_id = $1 and ended_at > now() - make_interval(secs => $2)
order by sid
