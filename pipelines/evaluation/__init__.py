"""`recall evaluate`: ranking the whole catalogue, metrics, baselines, the blessing."""
