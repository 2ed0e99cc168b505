-- The properties of the server and the database that Latchkey requires.
select current_setting('server_version') as version,
    current_setting('server_encoding') as encoding,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) as can_create
