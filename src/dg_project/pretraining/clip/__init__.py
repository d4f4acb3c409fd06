"""Training of the bundled CLIP-like teacher."""
