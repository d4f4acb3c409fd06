"""Data of a domain: manifests, readers of real layouts, images, masks and the batches made of them."""
