"""What a job will take, by formulas: steps, time, memory of a GPU, the share of communication. No I/O."""
