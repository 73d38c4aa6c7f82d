"""A photo and its faces in, a restored photo out: one path for every task."""
