"""A local page: paint weather on a street photo, and see what the trained models find in it."""
