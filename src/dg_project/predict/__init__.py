"""A trained model on any images, lists of them or a video."""
