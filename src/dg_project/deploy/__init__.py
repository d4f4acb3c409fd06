"""After training: predictions on anything, exported models that agree with the trained one, and cards."""
