"""A real Slurm of several nodes on one machine, in seconds, for tests: lab.Lab; ``python tests/on_slurm/slurm up``."""
