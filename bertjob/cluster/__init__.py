"""What the login node does: the only package that starts processes and asks the scheduler."""
