"""Commands on PATH that say what a test wants and remember how they were called."""

import shlex
from pathlib import Path


class Commands:
    """A folder of fake commands; put it first on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def make(self, name: str, stdout: str = "", stderr: str = "", code: int = 0) -> None:
        """Make or replace a command."""
        for stream, text in (("stdout", stdout), ("stderr", stderr)):
            (self.folder / f"{name}.{stream}").write_text(text)
        base = shlex.quote(str(self.folder / name))
        path = self.folder / name
        path.write_text(
            "#!/bin/sh\n"
            f'printf "%s\\0" "$@" >>{base}.calls; printf "\\n" >>{base}.calls\n'
            f"env >{base}.env; cat {base}.stdout; cat {base}.stderr >&2; exit {code}\n"
        )
        path.chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of each call so far."""
        log = self.folder / f"{name}.calls"
        return [line.split("\0")[:-1] for line in log.read_text().splitlines()] if log.exists() else []

    def environment(self, name: str) -> dict[str, str]:
        """The environment of the last call."""
        lines = (self.folder / f"{name}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)
