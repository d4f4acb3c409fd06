"""Old name of ``export``, kept for exported MLflow models."""
