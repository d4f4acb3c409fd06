"""Pseudo images: synthesised, chosen, gated, sampled, renewed."""
