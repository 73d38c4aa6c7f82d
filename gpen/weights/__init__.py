"""Weight files: what is published, where they are, what they hold, safely read, converted and loaded."""
