"""What picture files hold besides pixels: EXIF, XMP, IPTC, texts and signatures, read and written again."""
