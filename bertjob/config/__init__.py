"""WHAT: jobs and sites as frozen values. No process, no torch."""
