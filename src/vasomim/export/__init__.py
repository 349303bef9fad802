"""Trained segmenters as networks for ONNX Runtime and OpenVINO."""
