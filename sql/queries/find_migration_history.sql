-- Whether migrations were applied. The library stores them in this table.
select to_regclass('refinery_schema_history') is not null
