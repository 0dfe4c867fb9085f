"""A real Slurm of several nodes on one machine, in seconds, for tests: lab.Lab; ``python tests/cluster/slurm up``."""
