select from revocations where kind = 'token' and subject_id = $1
