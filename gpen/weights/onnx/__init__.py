"""ONNX graphs of GPEN networks: the tensors are recovered from what the graph does with them."""
