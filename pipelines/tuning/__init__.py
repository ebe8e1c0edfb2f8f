"""`recall tune`: settings searched on validation data, within a budget."""
