"""Apply a trained model to a folder of images, a list of images or a video."""
