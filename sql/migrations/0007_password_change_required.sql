-- Whether an administrator or the operator has set the password, so that the user should change it.
alter table users add column password_change_required boolean not null default false;
