"""The GPEN network as a PyTorch module, and its parts. Nothing here knows a file."""
