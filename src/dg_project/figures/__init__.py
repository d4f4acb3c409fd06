"""Draw a run: functions that return a matplotlib Figure and neither show nor save it."""
