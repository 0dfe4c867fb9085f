"""bertjob: BERT training jobs in containers on HPC clusters, from one command to many nodes."""

__version__ = "0.1.0"
