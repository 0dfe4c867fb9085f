"""What a job will take, by formulas: steps, time, memory of a GPU, the share of communication.

Only `job_files` reads files: the data and the model's configuration, where they are here.
"""
