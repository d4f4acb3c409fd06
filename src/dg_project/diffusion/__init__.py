"""Latent diffusion models: opening checkpoints, modes, prompts, generation."""
