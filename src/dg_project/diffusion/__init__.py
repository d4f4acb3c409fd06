"""Everything that touches a latent diffusion model: prompts, generation, synthesis of pseudo domains, the tiny LDM."""
