"""ssh between the nodes of the embedded cluster, where a test wants what a cluster's nodes have."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from slurm.lab import Lab

_SSH = """\
#!/bin/sh
exec /usr/bin/ssh -i {folder}/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$@"
"""
_SSHD = """\
HostKey {folder}/host
AuthorizedKeysFile {folder}/id.pub
StrictModes no
PermitRootLogin yes
UsePAM no
PidFile {folder}/{host}.pid
"""


@contextlib.contextmanager
def daemons(lab: Lab, folder: Path) -> Iterator[None]:
    """Run a daemon on each node, and make `folder` with a command ``ssh`` that they let in."""
    folder.mkdir()
    for key in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    (folder / "ssh").write_text(_SSH.format(folder=folder))
    (folder / "ssh").chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks itself in
    for node in lab.nodes:
        settings = folder / f"{lab.shape.host(node)}.conf"
        settings.write_text(_SSHD.format(folder=folder, host=lab.shape.host(node)))
        lab.on_node(node, "/usr/sbin/sshd", "-f", str(settings))
    try:
        yield
    finally:
        for node in lab.nodes:
            lab.on_node(node, "kill", (folder / f"{lab.shape.host(node)}.pid").read_text().strip())
