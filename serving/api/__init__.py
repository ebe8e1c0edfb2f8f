"""What callers may say about recall and about items, as Python, JSON and tensors; and a client
that says it.
"""
