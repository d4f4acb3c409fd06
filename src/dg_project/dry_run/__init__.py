"""What a run would do and need, found out without doing it: nothing in here trains, downloads or writes."""
