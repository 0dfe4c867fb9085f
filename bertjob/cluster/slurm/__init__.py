"""The only package that calls sbatch, squeue, sacct, scontrol and scancel."""
