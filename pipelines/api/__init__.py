"""`recall.fit`, `recall.load`, `recall.serve`: what `import recall` offers beside the client."""
