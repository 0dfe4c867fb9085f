"""The run directory: the contract between script, ranks and login node."""
