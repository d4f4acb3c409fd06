"""What makes pseudo images, one file per value of ``synthesis.generator``."""
