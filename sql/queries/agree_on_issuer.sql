-- Stores the issuer of the first replica, and returns the stored one. The empty update makes "returning" see the row.
insert into settings (issuer) values ($1)
on conflict on constraint settings_pkey do update set issuer = settings.issuer
returning issuer
