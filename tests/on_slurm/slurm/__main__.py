"""The embedded cluster by hand, as root:

python tests/on_slurm/slurm up [NODES]     start it; prints the line to eval in your shell; ends with Ctrl-C or TERM
python tests/on_slurm/slurm down SLOT      stop one that a killed process left behind
"""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from slurm.lab import Lab, free_slot  # run as a folder, this package is not on the path yet


def main(verb: str = "", argument: str = "") -> int:
    """Run one verb."""
    if verb == "down" and argument:
        Lab(int(argument)).stop()
        return 0
    if verb != "up":
        print(__doc__, file=sys.stderr)
        return 2
    with free_slot() as slot:
        lab = Lab(slot, int(argument or 4))
        lab.start()
        print(f"export SLURM_CONF={lab.shape.slurm_conf}", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # ends the pause
        signal.pause()
        lab.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
