"""DRSF: Discriminative Domain Reassembly and Soft-Fusion (arXiv 2503.13617)."""
