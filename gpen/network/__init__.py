"""The GPEN network as a PyTorch module, and its parts. Nothing here reads or writes files."""
