"""`make bench-matching`: our search beside python-threatexchange's PDQ, over the same files, one thread each."""
