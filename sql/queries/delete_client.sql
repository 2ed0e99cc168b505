delete from oauth_clients where id = $1 returning generation
