"""Films: faces are restored in the frames of a video file, and everything else in the file is kept."""
