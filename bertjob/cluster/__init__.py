"""WHERE: the only room that starts processes and asks the scheduler."""
