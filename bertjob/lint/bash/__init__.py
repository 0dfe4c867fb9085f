"""Reading Bash scripts; no knowledge of Slurm."""
