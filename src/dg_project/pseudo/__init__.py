"""Pseudo images: synthesis, selection among candidates, the label gate, sampling, online renewal."""
