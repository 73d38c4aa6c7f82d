"""Face recognition: whether two faces are of one person."""
