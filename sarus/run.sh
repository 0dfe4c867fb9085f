#!/usr/bin/env bash
# A command in an image: sarus/run.sh [IMAGE] -- COMMAND…   On many nodes: srun -N 8 sarus/run.sh -- COMMAND…
# It sees this folder and $SCRATCH; what is written elsewhere is gone afterwards.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../container/image.env
. "$(dirname "${BASH_SOURCE[0]}")/../container/image.env"
image=${GPU_BASE_DIGEST:+${GPU_BASE%:*}@$GPU_BASE_DIGEST}
image=${image:-$GPU_BASE}

if [ $# -gt 0 ] && [ "$1" != -- ]; then image=$1; shift; fi
if [ "${1:-}" != -- ] || [ $# -lt 2 ]; then
  echo "run.sh: use it as sarus/run.sh [IMAGE] -- COMMAND…" >&2
  exit 2
fi
shift

options=(--entrypoint "" --workdir="$PWD" --mount="type=bind,source=$PWD,destination=$PWD")
[ -z "${SCRATCH:-}" ] || options+=(--mount="type=bind,source=$SCRATCH,destination=$SCRATCH")
exec sarus run "${options[@]}" "$image" "$@"
