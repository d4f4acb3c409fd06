"""DomainFusion: latent distillation, and a synthetic set that is renewed while the method trains."""
