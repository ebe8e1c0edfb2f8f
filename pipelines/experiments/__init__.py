"""`recall experiment`: claims as grids of runs, with paired intervals of what differs."""
