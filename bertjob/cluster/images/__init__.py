"""Everything that calls a container engine."""
