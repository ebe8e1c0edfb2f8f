"""What a report says: the folder of a run read, and a file for each part of the page."""
