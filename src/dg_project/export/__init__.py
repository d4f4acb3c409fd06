"""Exported models that agree with the trained one: ONNX, TorchScript and MLflow."""
