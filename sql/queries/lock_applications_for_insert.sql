-- Other transactions can still read. Two inserts can't exceed the maximum number together.
lock table applications in share row exclusive mode
