"""What a job script shows beforehand of its failures: rules over a parsed script, no process, no file."""
