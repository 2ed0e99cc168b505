-- The first replica's issuer is kept; the others learn it. The empty update makes the row visible to "returning".
insert into settings (issuer) values ($1)
on conflict on constraint settings_pkey do update set issuer = settings.issuer
returning issuer
