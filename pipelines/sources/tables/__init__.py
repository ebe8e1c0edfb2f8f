"""Tables in files: which files a path names, how they are written, their rows in Arrow."""
