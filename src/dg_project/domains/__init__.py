"""What a domain is: manifests, readers of real layouts, and the batches made of them."""
