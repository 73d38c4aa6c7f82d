"""The node pack's side of ComfyUI."""
