"""The commands of one container engine in a script, rewritten for another; all other bytes stay."""

from bertjob.launch.porting.port import Ported, port

__all__ = ["Ported", "port"]
