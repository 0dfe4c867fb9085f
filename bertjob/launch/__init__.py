"""HOW: pure functions from values to command lines and scripts. No I/O."""
