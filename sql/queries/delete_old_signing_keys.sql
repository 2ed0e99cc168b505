-- Whatever these have signed is dead, or refused. Which they are is decided where the rules are.
delete from signing_keys where kid = any($1)
