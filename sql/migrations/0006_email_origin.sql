-- The IP address and the browser that requested a code. The email contains them, so that its reader can recognize the
-- request.
alter table outbox add column ip_address text, add column user_agent text;
