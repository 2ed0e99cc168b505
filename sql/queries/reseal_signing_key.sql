-- Sealed anew, if nobody else has done it meanwhile: $3 is what was read.
update signing_keys set sealed_private_key = $2 where kid = $1 and sealed_private_key = $3
