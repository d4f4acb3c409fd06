"""Training of the bundled models: the tiny LDM and the CLIP-like teacher."""
