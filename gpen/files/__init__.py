"""What is on disk: published files, the folders they are looked for in, downloads, what weight files contain."""
