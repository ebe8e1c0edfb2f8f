"""Folders of jobs in object stores: copied here before a job, copied back after it."""
