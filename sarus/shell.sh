#!/usr/bin/env bash
# A shell in an image: sarus/shell.sh [IMAGE]   In an allocation: srun --pty sarus/shell.sh
# It sees this folder and $SCRATCH; what is written elsewhere is gone afterwards.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../container/image.env
. "$(dirname "${BASH_SOURCE[0]}")/../container/image.env"
image=${GPU_BASE_DIGEST:+${GPU_BASE%:*}@$GPU_BASE_DIGEST}
image=${1:-${image:-$GPU_BASE}}

options=(--entrypoint "" --workdir="$PWD" --mount="type=bind,source=$PWD,destination=$PWD")
[ -z "${SCRATCH:-}" ] || options+=(--mount="type=bind,source=$SCRATCH,destination=$SCRATCH")
# Without a terminal sarus refuses --tty, and the shell reads its commands from standard input.
if [ -t 0 ] && [ -t 1 ]; then options+=(--tty); fi
exec sarus run "${options[@]}" "$image" bash
