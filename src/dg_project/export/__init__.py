"""Export a trained model to ONNX, ``torch.export`` and MLflow, and check that it predicts the same."""
