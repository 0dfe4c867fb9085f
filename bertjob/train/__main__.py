"""``python -m bertjob.train RUN/job.yaml``: one rank of a run; see bertjob.train.main."""

import os
import sys
from pathlib import Path

from bertjob.config.home import give_home
from bertjob.train.distributed.signals import StopSignals


def _main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m bertjob.train RUN/job.yaml", file=sys.stderr)
        return 2
    signals = StopSignals()
    give_home(os.environ)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost peer is worth a line, not torch's stack of C++ calls
    from bertjob.train.main import main  # torch takes seconds, in which a signal may already come

    return main(Path(sys.argv[1]), signals)


if __name__ == "__main__":
    code = _main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the threads of gloo often abort a process that ends in Python's way
