"""The loop that trains any method: deterministic, resumable, selected on the source domain."""
