"""Examples that take in new days and lose users, without the log they were made of."""
