"""A text-conditioned LDM (mode img2img) from image folders ``<domain>/<class>/<image>``: no pairs, no target image."""
