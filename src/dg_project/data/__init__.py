"""Manifests, data set readers, images, masks and training batches."""
