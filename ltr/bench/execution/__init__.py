"""Who runs it: estimates, workers, progress."""
