#!/usr/bin/env bash
# PID 1 of a node of the embedded cluster, inside its own network, UTS, mount, pid and ipc namespaces (lab.py).
# Arguments: FOLDER HOST PIDFILE COMMAND...   COMMAND is slurmd, or the controller's services.
set -euo pipefail
folder=$1 host=$2 pidfile=$3
shift 3
read -r pid _ </proc/self/stat # still the outer /proc: our pid as the machine sees it
hostname "$host"
mount --make-rprivate /
mount -t proc proc /proc
mkdir -p "$folder/run/$host.cgroup"
mount --rbind /sys/fs/cgroup "$folder/run/$host.cgroup"
mount -t sysfs sysfs /sys                      # with this node's network; container engines want the cgroups back
mount --rbind "$folder/run/$host.cgroup" /sys/fs/cgroup
mount --bind "$folder/etc/hosts" /etc/hosts
mkdir -p /etc/slurm
mount --bind "$folder/etc" /etc/slurm          # Slurm's default place: no SLURM_CONF needed
mount -t tmpfs -o mode=1777 tmpfs /dev/shm     # shared memory is per node
"$@" &
echo "$pid" >"$pidfile.aside"
mv "$pidfile.aside" "$pidfile"
set +e
while :; do wait -n 2>/dev/null || sleep 1; done # reap orphans for ever
