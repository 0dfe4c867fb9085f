"""`make bench`."""

import os
import sys

# Threads that wait without spinning: CPU time is then work, also on a machine that others use.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tests.bench import bench_corpus, bench_squad, bench_start_up

sys.exit(max([bench_start_up.main(), bench_corpus.main(), bench_squad.main()]))
