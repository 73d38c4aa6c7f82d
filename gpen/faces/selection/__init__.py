"""Which of a photo's faces are restored, and what of their pixels is measured to choose among them."""
