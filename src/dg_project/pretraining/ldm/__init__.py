"""The tiny LDM that ships with the project: built from scratch, saved as a genuine diffusers pipeline."""
