select from applications limit 1
