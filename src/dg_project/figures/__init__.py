"""Pictures of a run: functions that return a matplotlib Figure; they neither show nor save it."""
