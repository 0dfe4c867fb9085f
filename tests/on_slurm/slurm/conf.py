"""The files of an embedded cluster: pure functions from its shape to their text.

What differs from a real cluster, and why, stands beside each line. Chosen for tests: everything reacts at once, a
requeued job waits 5 s (Slurm's default is 120), nodes claim more CPUs and memory than there are.
"""

from dataclasses import dataclass, replace
from pathlib import Path

REQUEUE_SECONDS = 5
"""cred_expire: the life of a credential, and so the time a requeued job waits before it may start again."""


FABRIC_SUFFIX = "f"
"""Makes a node's name its name on the fabric."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a cluster looks like.

    Attributes:
        name: at most eight characters; names of the bridge, the veth pairs and the network namespaces begin with it.
        subnet: the first three numbers of a /24; .1 is this machine, .10 the controller, .11 … the nodes.
        folder: all that the cluster writes lies here, on the file system that its nodes share.
        nodes: compute nodes; node 0 is the controller.
        cpus: CPUs that each node claims.
        extra: more lines for slurm.conf.
        beside: the cluster on whose machines this one runs as well, with the same munge and slurmdbd.
    """

    name: str
    subnet: str
    folder: Path
    nodes: int = 4
    cpus: int = 12
    extra: tuple[str, ...] = ()
    beside: "Shape | None" = None

    @property
    def second(self) -> "Shape":
        """A second cluster on the same machines."""
        return replace(self, name=f"{self.name}b", folder=self.folder / "second", beside=self)

    @property
    def services(self) -> "Shape":
        """The cluster that runs munge, slurmdbd and the database."""
        return self.beside or self

    @property
    def port(self) -> int:
        """Where slurmctld listens; slurmd listens at the next one."""
        return 6827 if self.beside else 6817

    def fabric_address(self, node: int) -> str:
        """Address of a node on the fabric, where there is one (Lab.fabric)."""
        network, _, slot = self.subnet.rpartition(".")
        return f"{network.partition('.')[0]}.85.{slot}.{10 + node}"

    @property
    def etc(self) -> Path:
        """Slurm's configuration, mounted over /etc/slurm on each node."""
        return self.folder / "etc"

    @property
    def run(self) -> Path:
        """Sockets and pid files."""
        return self.folder / "run"

    @property
    def log(self) -> Path:
        """Logs of the daemons."""
        return self.folder / "log"

    @property
    def slurm_conf(self) -> Path:
        """For the environment variable SLURM_CONF outside of the nodes."""
        return self.etc / "slurm.conf"

    def host(self, node: int) -> str:
        """Host name of a node."""
        return f"nid{node:05d}" if node else f"{self.services.name}ctl"

    def node(self, node: int) -> str:
        """Slurm's name of a node, which leads to its address as well."""
        return f"oth{node:05d}" if self.beside else self.host(node)

    def address(self, node: int) -> str:
        """Address of a node on the bridge."""
        return f"{self.subnet}.{10 + node}"


def files(shape: Shape, machine: str) -> dict[str, str]:
    """Every file below ``shape.etc`` but the key; `machine` is this machine's own host name."""
    return {
        "hosts": _hosts(shape, machine),
        "slurm.conf": _slurm_conf(shape),
        "slurmdbd.conf": _slurmdbd_conf(shape),
        "gres.conf": f"Name=gpu File={shape.services.folder}/dev/nvidia0\n",
        # slurmd sets up a cgroup plugin even if nothing uses it, and autodetect ends it where no cgroups are mounted.
        "cgroup.conf": "CgroupPlugin=cgroup/v1\n",
        # srun --mpi=pmix makes a folder named by job and step on each node, but here the nodes share /tmp.
        "mpi.conf": "PMIxCliTmpDirBase=/dev/shm\n",
        "epilog": _EPILOG,
        "services": _services(shape),
    }


def _hosts(shape: Shape, machine: str) -> str:
    lines = ["127.0.0.1 localhost", f"{shape.subnet}.1 {machine}"]
    for node in range(shape.nodes + 1):
        # The mapped address: torch's rendezvous looks it up and warns if it has no name.
        lines += [f"{prefix}{shape.address(node)} {shape.host(node)}" for prefix in ("", "::ffff:")]
        lines += [f"{shape.fabric_address(node)} {shape.host(node)}{FABRIC_SUFFIX}"]
    lines += [f"{shape.address(node)} {shape.second.node(node)}" for node in range(1, shape.nodes + 1)]
    return "\n".join(lines) + "\n"


def _slurm_conf(shape: Shape) -> str:
    nodes = "\n".join(
        f"NodeName={shape.node(node)} NodeHostname={shape.host(node)} NodeAddr={shape.address(node)}"
        f" CPUs={shape.cpus} RealMemory=64000 Gres=gpu:1 Feature=gpu State=UNKNOWN"
        for node in range(1, shape.nodes + 1)
    )
    extra = "".join(f"{line}\n" for line in shape.extra)
    return f"""\
ClusterName={shape.name}
SlurmctldHost={shape.host(0)}({shape.address(0)})
SlurmctldPort={shape.port}
SlurmdPort={shape.port + 1}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={shape.services.run}/munge.sock,cred_expire={REQUEUE_SECONDS}
StateSaveLocation={shape.folder}/state
SlurmdSpoolDir={shape.folder}/spool/%n
SlurmctldPidFile={shape.run}/slurmctld.pid
SlurmdPidFile={shape.run}/slurmd-%n.pid
SlurmctldLogFile={shape.log}/slurmctld.log
SlurmdLogFile={shape.log}/slurmd-%n.log
MailProg=/bin/true
# no cgroups, no affinity: the nodes share the machine's cores
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
Epilog=/etc/slurm/epilog
SwitchType=switch/none
MpiDefault=none
# nodes may claim more than there is
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=5
InactiveLimit=0
MinJobAge=300
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# react at once
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,sched_min_interval=0
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={shape.address(0)}
AccountingStoragePort=6819
AccountingStoragePass={shape.services.run}/munge.sock
AccountingStorageTRES=gres/gpu
{extra}{nodes}
PartitionName=normal Nodes=ALL Default=YES MaxTime=24:00:00 State=UP PriorityTier=10 PreemptMode=REQUEUE GraceTime=5
PartitionName=urgent Nodes=ALL MaxTime=01:00:00 State=UP PriorityTier=100 PreemptMode=OFF
"""


def _slurmdbd_conf(shape: Shape) -> str:
    return f"""\
AuthType=auth/munge
AuthInfo=socket={shape.run}/munge.sock
DbdHost={shape.host(0)}
DbdAddr={shape.address(0)}
DbdPort=6819
SlurmUser=root
LogFile={shape.log}/slurmdbd.log
PidFile={shape.run}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct
"""


def _services(shape: Shape) -> str:
    """What the controller runs, as shell; the database is on a tmpfs of its own (no fsync: twice as fast)."""
    run, log, data = shape.run, shape.log, shape.folder / "mysql"
    return f"""\
munged --key-file={shape.etc}/munge.key --socket={run}/munge.sock --pid-file={run}/munged.pid \\
  --log-file={log}/munged.log --seed-file={run}/munged.seed
mkdir -p {data} && mount -t tmpfs tmpfs {data}
mariadb-install-db --no-defaults --user=root --datadir={data} --skip-test-db \\
  --auth-root-authentication-method=normal >{log}/mariadb-install.log 2>&1
mariadbd --no-defaults --user=root --datadir={data} --socket={run}/mysql.sock --pid-file={run}/mariadbd.pid \\
  --skip-networking --skip-grant-tables --skip-log-bin --skip-sync-frm --innodb-flush-log-at-trx-commit=0 \\
  --innodb-doublewrite=0 --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 \\
  --performance-schema=OFF >{log}/mariadbd.log 2>&1 &
until [ -S {run}/mysql.sock ]; do sleep .02; done
# libmariadb takes the socket from this variable
export MYSQL_UNIX_PORT={run}/mysql.sock
slurmdbd
# slurmctld's first start needs it
until (: </dev/tcp/{shape.address(0)}/6819) 2>/dev/null; do sleep .02; done
slurmctld
"""


# linuxproc loses orphans where a real cluster's cgroups do not: after a job, kill what carries its cluster and id.
_EPILOG = """\
#!/usr/bin/env bash
cd /proc || exit 0
for p in [0-9]*; do
  [ "$p" != $$ ] && grep -qsz "^SLURM_JOB_ID=$SLURM_JOB_ID$" "$p/environ" &&
    grep -qsz "^SLURM_CLUSTER_NAME=$SLURM_CLUSTER_NAME$" "$p/environ" && kill -KILL "$p" 2>/dev/null
done
exit 0
"""
