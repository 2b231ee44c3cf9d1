"""What the SQL database knows: the status of jobs, how long it is kept, and the versions of the tables."""
