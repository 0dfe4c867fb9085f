#!/usr/bin/env bash
# squad: BERT-large, SQuAD v1.1, batch 24, 2 epochs
# Made by bertjob for site local: 1 node x 2 ranks, launcher local, engine none. Run it with bash.

trap 'exit 85' USR1 TERM INT USR2 QUIT ALRM XCPU # asked to stop before there are ranks: nothing is lost

set -euo pipefail

export OMP_NUM_THREADS=8
export GOMP_SPINCOUNT=10000
# Left by another launcher in the calling shell, these would give every rank the same place.
unset RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE

# Each start makes a new run directory. BERTJOB_RUN_DIR=/path goes on in an old one.
RUN=${BERTJOB_RUN_DIR:-$PWD/runs/squad-$(date +%Y%m%d-%H%M%S)-$$}
former=${BERTJOB_FORMER_LEASE:-} # of `bertjob run`, which holds the lease of the run directory for rank 0
mkdir -p "$RUN/logs"
[ -e "$RUN/job.yaml" ] || (umask 077 && cat > "$RUN/job.yaml") << 'END_OF_JOB'
name: squad
task: squad
description: BERT-large, SQuAD v1.1, batch 24, 2 epochs
engine: none
launcher: local
mpi: false
backend: torch
precision: auto
seed: 42
model:
  init: bert-large-uncased
  pad_vocab: 1
  initializer_range: 0.02
  dropout: 0.1
  activation_checkpointing: false
  kernel: {enabled: false, stochastic: false, normalize_invertible: auto, attn_dropout_checkpoint: auto, gelu_checkpoint: auto}
data: {train: /home/user/bert/data/train-v1.1.json, dev: /home/user/bert/data/dev-v1.1.json}
train: {epochs: 2.0, global_batch: 24, micro_batch: 3, max_seq_length: 384, doc_stride: 128, max_query_length: 64,
  batching: packed, log_every: 10}
evaluation: {micro_batch: 32, n_best: 20, max_answer_length: 30}
optimizer:
  name: adamw
  lr: 3.0e-05
  betas: [0.9, 0.999]
  eps: 1.0e-08
  weight_decay: 0.0
  max_grad_norm: 1.0
  trust: [0.08, 0.5]
schedule: {name: linear, warmup_proportion: 0.1, warmup_power: 1.0, decay_rate: 0.9, decay_steps: 1000, power: 2.0,
  offset: 0.0}
checkpoint: {every_minutes: 15.0, keep: 2, signal_seconds: 120}
resources: {nodes: 1, tasks_per_node: 2, gpus_per_node: 0, cpus_per_task: 8}
END_OF_JOB
[ -e "$RUN/job.sbatch" ] || install -m 600 "$0" "$RUN/job.sbatch"
echo "bertjob: run directory $RUN" || true
cd "$RUN"

MASTER_ADDR=127.0.0.1 BERTJOB_NODE_ADDRESS=127.0.0.1
# Below the ports that the kernel gives to outgoing connections, which may be taken at any moment; another one for
# each job and each of its starts; none that something listens at, be it at one address only.
read -r ephemeral _ < /proc/sys/net/ipv4/ip_local_port_range
((ephemeral > 20000)) || ephemeral=32768
taken() {
  for address in localhost "$MASTER_ADDR"; do
    timeout 2 bash -c ": < /dev/tcp/$address/$1" 2> /dev/null && return
  done
  return 1
}
MASTER_PORT=$((20000 + ($$) % (ephemeral - 20000)))
while taken "$MASTER_PORT"; do MASTER_PORT=$((MASTER_PORT + 1)); done
export MASTER_ADDR MASTER_PORT BERTJOB_NODE_ADDRESS
# Each rank reads its place inside the step, and stops when its world is not the planned one.
export BERTJOB_WORLD_SIZE=2 BERTJOB_JOB_ID=local
export BERTJOB_RESTART=0 BERTJOB_FORMER_LEASE="$former"

stopping=''
trap 'stopping=$SECONDS' USR1 TERM INT USR2 QUIT ALRM XCPU
# Ranks that were cut off from others leave a note; one of an earlier start is void.
note=$RUN/logs/local.0.departure
rm -f "$note"
cut_off() { [[ $(cat "$note" 2> /dev/null) == *'"silent":true'* ]]; }

unwritable() {
  local why=${1##*: }
  case $why in
    'No space left on device') why='the disk is full; make room and start again' ;;
    'Disk quota exceeded') why='the disk quota is used up; make room and start again' ;;
  esac
  rm -f "$RUN/logs/.reserve" # so that the log has room for this line
  echo "bertjob: $RUN: cannot be written: $why" >&2
  exit 1
}
# By this the ranks recognise each other. Only its owner can read it, and each start has another one; rank 0 removes it
# as soon as all have read it.
BERTJOB_SECRET_FILE=$(LC_ALL=C mktemp "$RUN/logs/.secret-XXXXXXXX" 2>&1) || unwritable "$BERTJOB_SECRET_FILE"
trap 'rm -f "$BERTJOB_SECRET_FILE"' EXIT
said=$(LC_ALL=C head -c 32 /dev/urandom 2>&1 > "$BERTJOB_SECRET_FILE") || unwritable "$said"
export BERTJOB_SECRET_FILE

# One process a rank, started here.
ranks=()
for ((rank = 0; rank < 2; rank++)); do
  (
    trap '' USR1 USR2 QUIT ALRM XCPU # until it listens
    RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 exec \
      /home/user/venv/bin/python -u -m bertjob.train "$RUN/job.yaml"
  ) &
  ranks+=("$!")
done

# USR1, TERM, ^C and the like reach the ranks as USR1, at which they write a checkpoint and end with 85: every 3 s,
# as one that is only starting does not listen yet. A rank that fails ends the others, which would wait for it for
# ever. Where some are silent, the others leave by themselves, and they are ended. The sleep is short because a trap
# runs when it is over, and may be ended by the same signal.
code=0 failed_at=
while ((${#ranks[@]})); do
  sleep 0.2 || true
  if [ -n "$stopping" ] && ((SECONDS >= stopping)); then
    stopping=$((SECONDS + 3))
    kill -USR1 "${ranks[@]}" 2> /dev/null || true
  fi
  for rank in "${!ranks[@]}"; do
    kill -0 "${ranks[rank]}" 2> /dev/null && continue
    ended=0
    wait "${ranks[rank]}" || ended=$?
    unset "ranks[rank]"
    if ((ended == 0 || ended == 85)); then
      ((code)) || code=$ended
      [ -n "$failed_at" ] || ! cut_off || failed_at=$SECONDS
    elif [ -z "$failed_at" ]; then
      code=$ended failed_at=$SECONDS
      ((${#ranks[@]})) || break
      echo "bertjob: rank $rank ended with exit code $ended, so the others are ended" >&2
      kill -TERM "${ranks[@]}" 2> /dev/null || true
    fi
  done
  if [ -n "$failed_at" ] && ((SECONDS > failed_at + 10)); then kill -KILL "${ranks[@]}" 2> /dev/null || true; fi
done

((code == 0)) || ! cut_off || code=85 # whatever ended the launcher, the run can go on
exit "$code"
