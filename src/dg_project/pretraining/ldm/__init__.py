"""The bundled tiny LDM: trained from scratch, saved as a diffusers pipeline."""
