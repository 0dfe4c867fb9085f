"""`make bench`."""

import os
import sys

# Threads that wait without spinning: CPU time is then work, also on a machine that others use.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tests.bench import bench_corpus, bench_gpu, bench_pretraining, bench_squad, bench_start_up

sys.exit(max(bench.main() for bench in (bench_start_up, bench_corpus, bench_squad, bench_pretraining, bench_gpu)))
