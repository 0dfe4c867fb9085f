#!/usr/bin/env bash
# Start an image and tell what is in it: sarus/check.sh [IMAGE]   In an allocation, for GPUs: srun -n 1 sarus/check.sh
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../container/image.env
. "$(dirname "${BASH_SOURCE[0]}")/../container/image.env"
image=${GPU_BASE_DIGEST:+${GPU_BASE%:*}@$GPU_BASE_DIGEST}
image=${1:-${image:-$GPU_BASE}}

sarus run --entrypoint "" "$image" sh -s "$image" << 'END_OF_CHECK'
echo "image   $1"
echo "python  $(python3 --version 2> /dev/null || echo none)"
python3 - 2> /dev/null << 'END_OF_PYTHON' || echo "torch   none"
import torch
print("torch  ", torch.__version__)
print("CUDA   ", torch.version.cuda or "none", "with", torch.cuda.device_count(), "GPUs")
END_OF_PYTHON
mpi=$(mpirun --version 2> /dev/null | sed -n 1p)
echo "MPI     ${mpi:-none}"
END_OF_CHECK
