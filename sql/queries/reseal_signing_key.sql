-- Only if no other replica has resealed the key: $3 is the value that was read.
update signing_keys set sealed_private_key = $2 where kid = $1 and sealed_private_key = $3
