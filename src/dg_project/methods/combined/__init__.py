"""Methods made of two others: the only place where methods meet."""
