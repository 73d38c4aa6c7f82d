"""The formats of picture files: one module for each, and the parts that several of them share."""
