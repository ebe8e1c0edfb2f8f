"""Commands of `recall` started by our own code, in a process of their own."""
