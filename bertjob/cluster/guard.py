"""What must not stay behind even where this process is killed: a process beside it sees to that.

Nobody can catch KILL, and memory that runs out, `scancel --signal=KILL` and impatient people send it. So a shell of a
session of its own waits at a pipe, whose end it sees as soon as this process is gone.
"""

import contextlib
import subprocess
from collections.abc import Iterator

_WATCH = r"""
trap '' HUP INT TERM
engine=
while read -r word; do
  case $word in
    done) exit ;;
    none) engine= ;;
    *) engine=$word ;;
  esac
done
if [ "$engine" ]; then
  kill -TERM "$engine"
  tries=100
  while kill -0 "$engine" && [ "$tries" -gt 0 ]; do
    sleep 0.1
    tries=$((tries - 1))
  done
  kill -KILL "$engine"
fi
rm -rf -- "$@"
"""


class Guard:
    """The process beside this one."""

    def __init__(self, pipe: "subprocess.Popen[bytes]") -> None:
        self._pipe = pipe

    def watch(self, pid: int | None) -> None:
        """End this process before the files go, since it writes them; None: it has ended."""
        self._say("none" if pid is None else str(pid))

    def _say(self, word: str) -> None:
        assert self._pipe.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # somebody has killed the guard
            self._pipe.stdin.write(f"{word}\n".encode())
            self._pipe.stdin.flush()

    def dismiss(self) -> None:
        """Nothing is left to guard."""
        self._say("done")
        with contextlib.suppress(BrokenPipeError):
            self._pipe.communicate()


@contextlib.contextmanager
def removed_if_killed(*paths: str) -> Iterator[Guard]:
    """Inside, these files and folders go where this process is killed; otherwise they are the caller's to remove."""
    guard = Guard(
        subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "bertjob-guard", *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            start_new_session=True,
        )
    )
    try:
        yield guard
    finally:
        guard.dismiss()
