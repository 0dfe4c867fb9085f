"""The commands of one container engine in a script, and bertjob's check for it, rewritten for another engine."""

from bertjob.port.port import Ported, port

__all__ = ["Ported", "port"]
