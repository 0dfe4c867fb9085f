"""The table of verbs; one module per verb, imported when it is called."""

VERBS = {
    "run": "Run a job here and now, in the foreground.",
    "submit": "Check a job and submit it to the site's scheduler.",
    "script": "Print the exact script that submit would send.",
    "shell": "Open a shell, or run a command, where the ranks would run.",
    "estimate": "Say what a job will take: steps, time, memory.",
    "status": "Show where jobs stand.",
    "logs": "Print a job's log, or follow it.",
    "wait": "Wait until jobs have ended.",
    "cancel": "Cancel jobs.",
    "clean": "Remove runs that came to nothing, or those named.",
    "ask": "Let a trained model answer questions.",
    "eval": "Score predictions by SQuAD's official rules.",
    "data": "Fetch or prepare data, or say what is in a file.",
    "doctor": "Check this machine, the site and the job, or prove a launch.",
    "image": "Build, bring, check and name container images.",
    "jobs": "List the jobs, or show one with the origin of each value.",
    "sites": "List the sites, or show one.",
    "lint": "Find what will fail in job scripts of any origin.",
    "port": "Rewrite the container commands of a script for another engine.",
    "schema": "Print the JSON Schema of job or site files.",
}
"""Every verb with its line of help; the module bertjob.cli.verbs.<verb> holds its command ``verb``."""

ACTS = frozenset({"run", "submit", "shell", "wait", "cancel", "clean", "data", "doctor", "image"})
"""Verbs that are done when their work is, whatever becomes of the line that they print; those that rest only print."""
