"""What is told about requests: counters, records, logs, spans."""
