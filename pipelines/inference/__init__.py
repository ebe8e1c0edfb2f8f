"""`recall recommend`, `similar` and `embed`: what a release says of everybody, as Parquet."""
