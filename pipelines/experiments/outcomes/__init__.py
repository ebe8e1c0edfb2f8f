"""What came out of runs: files, measures, paired intervals, tables, drawings."""
