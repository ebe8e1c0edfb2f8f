"""Values of a log's columns: ids, times, conditions, and what makes a row a bad one."""
