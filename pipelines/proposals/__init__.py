"""`recall features`: a section of settings, proposed from files."""
