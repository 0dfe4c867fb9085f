"""`make bench`."""

import os
import sys

# Threads that wait without spinning: CPU time is then work, also on a machine that others use.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tests.bench import bench_corpus, bench_gpu, bench_onebit, bench_pretraining, bench_squad, bench_start_up

BENCHES = (bench_start_up, bench_corpus, bench_squad, bench_pretraining, bench_onebit, bench_gpu)

if __name__ == "__main__":  # ranks of a bench are processes that import this module
    sys.exit(max(bench.main() for bench in BENCHES))
