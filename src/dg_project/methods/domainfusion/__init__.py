"""DomainFusion: latent distillation, and a synthetic set that is renewed during training."""
