"""One rule a file, found by a scan of this folder."""
