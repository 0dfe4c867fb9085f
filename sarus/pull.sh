#!/usr/bin/env bash
# Bring an image to your Sarus repository: sarus/pull.sh [IMAGE]   (default: the base of container/image.env)
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../container/image.env
. "$(dirname "${BASH_SOURCE[0]}")/../container/image.env"
image=${GPU_BASE_DIGEST:+${GPU_BASE%:*}@$GPU_BASE_DIGEST}
image=${1:-${image:-$GPU_BASE}}

sarus pull "$image" || {
  echo "pull.sh: $image was not pulled; the reason: sarus --debug pull $image" >&2
  echo "pull.sh: without a network: sarus load ARCHIVE.tar NAME:TAG, which is then load/library/NAME:TAG" >&2
  exit 1
}
