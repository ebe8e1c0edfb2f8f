"""How far a job is, for people: counted by the job, shown by a thread of its own."""
