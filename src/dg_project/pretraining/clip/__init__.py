"""The CLIP-like teacher that ships with the project."""
