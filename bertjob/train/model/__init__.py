"""The networks: their first weights, attention over packed rows, and the forward passes of the tasks."""
