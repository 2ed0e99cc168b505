-- A sign-in reads the last sessions of the user.
create index sessions_of_user_by_id on sessions (user_id, id);
drop index sessions_of_user;
