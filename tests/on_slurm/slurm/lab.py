"""An embedded cluster: start it, break it, stop it.

Each node is a network, UTS, mount, pid and ipc namespace on a bridge: its own host name, address, /dev/shm and
processes; the file system is shared, as a cluster's scratch is. Node 0 is the controller (munged, mariadbd, slurmdbd,
slurmctld). Needs root on Linux and Debian's packages (PACKAGES). This machine's own /etc is not changed.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from slurm import conf

PACKAGES = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
    "mpirun": "openmpi-bin",
    "ip": "iproute2",
    "tc": "iproute2",
}
"""Command to the Debian package that has it."""
PMIX = ("*/pmix2/lib/libpmix.so", "libpmix-dev")
"""What Slurm's plugin for PMIx loads, below /usr/lib; the package of the library itself has it by another name."""
HOME = Path("/run/bertjob-lab")
"""Clusters are folders 0, 1, … here; each belongs to the process that holds its lock."""
MOST_CLUSTERS = 16
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INIT = Path(__file__).with_name("node-init.sh")


class LabError(Exception):
    """The cluster did not come up; says what it waited for and where the logs are."""


@contextlib.contextmanager
def free_slot() -> Iterator[int]:
    """The number of a cluster that no other process has, so that several test runs do not clash."""
    HOME.mkdir(parents=True, exist_ok=True)
    for slot in range(MOST_CLUSTERS):
        with (HOME / f"{slot}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield slot
            return
    raise LabError(f"all {MOST_CLUSTERS} clusters in {HOME} are in use")


class Lab:
    """One cluster. Its processes live until `stop`; a slot left by a killed test run is cleaned by the next `start`."""

    def __init__(self, slot: int, nodes: int = 4) -> None:
        self.shape = conf.Shape(f"bj{slot}", f"10.84.{slot}", HOME / str(slot), nodes)

    @property
    def nodes(self) -> range:
        """Numbers of the compute nodes."""
        return range(1, self.shape.nodes + 1)

    def start(self) -> None:
        """Bring the cluster up with no job and no history; takes two or three seconds."""
        self.stop()
        shape = self.shape
        if shape.folder.exists():
            raise LabError(f"{shape.folder} of an earlier cluster cannot be removed")
        self._write_files()
        _ip("link", "add", self._bridge, "type", "bridge", "forward_delay", "0")
        _ip("addr", "add", f"{shape.subnet}.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        self.boot(0)
        self._wait("slurmctld to answer", lambda: self._succeeds("scontrol", "ping"), seconds=60)
        for node in self.nodes:
            self.boot(node)
        self.wait_idle()

    def stop(self) -> None:
        """End all that `start` started, jobs included, and remove it."""
        for namespace in Path("/run/netns").glob(f"{self.shape.name}-*"):
            node = int(namespace.name.rpartition("-")[2])
            self.crash(node)
            subprocess.run(["ip", "link", "del", self._veth(node)], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "del", namespace.name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._bridge], capture_output=True, check=False)
        for mounted in _mounts_below(self.shape.folder):
            subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)
        shutil.rmtree(self.shape.folder, ignore_errors=True)

    def forget_jobs(self, shape: conf.Shape) -> None:
        """Start the controller of the second cluster anew without its state: no jobs, and numbers from 1."""
        self._end(0, shape.run / "slurmctld.pid")
        shutil.rmtree(shape.folder / "state")
        (shape.folder / "state").mkdir()
        self.on_node(0, "slurmctld", "-f", str(shape.slurm_conf))
        self._wait("the second slurmctld", lambda: self._succeeds("scontrol", "ping", shape=shape), seconds=60)
        self._wait_idle(shape)

    def wait_idle(self, seconds: float = 30) -> None:
        """Until every node is up and has no job."""
        self._wait_idle(self.shape, seconds)

    def _wait_idle(self, shape: conf.Shape, seconds: float = 30) -> None:
        def idle() -> bool:
            answer = self._client("sinfo", "-h", "-N", "-p", "normal", "-t", "idle", "-o", "%N", shape=shape)
            return len(answer.stdout.split()) == shape.nodes

        self._wait("all nodes to be idle", idle, seconds)

    @contextlib.contextmanager
    def second(self) -> Iterator[conf.Shape]:
        """Inside, the same machines are a second cluster as well, which slurmdbd knows; it counts its jobs from 1."""
        shape = self.shape.second
        started: list[tuple[int, Path]] = []
        try:
            self._write(shape)
            self.on_node(0, "slurmctld", "-f", str(shape.slurm_conf))
            started.append((0, shape.run / "slurmctld.pid"))
            self._wait("the second slurmctld", lambda: self._succeeds("scontrol", "ping", shape=shape), seconds=60)
            for node in self.nodes:
                self.on_node(node, "slurmd", "-N", shape.node(node), "-f", str(shape.slurm_conf))
                started.append((node, shape.run / f"slurmd-{shape.node(node)}.pid"))
            self._wait_idle(shape)
            yield shape
        finally:
            if shape.slurm_conf.exists():
                self._client("scancel", "--user=root", shape=shape)
            for node, pidfile in reversed(started):
                self._end(node, pidfile)
            shutil.rmtree(shape.folder, ignore_errors=True)

    def boot(self, node: int) -> None:
        """Power a node on."""
        shape = self.shape
        self._connect(node)
        pidfile = self._pidfile(node)
        pidfile.unlink(missing_ok=True)
        (shape.folder / "spool" / shape.host(node)).mkdir(parents=True, exist_ok=True)
        command = ["slurmd", "-D", "-N", shape.host(node)] if node else ["bash", "-e", str(shape.etc / "services")]
        with (shape.log / f"init-{shape.host(node)}.log").open("ab") as log:
            subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{shape.name}-{node}"),
                    # --kill-child: a node dies with the process that made its namespaces.
                    *("unshare", "--uts", "--mount", "--ipc", "--pid", "--fork", "--kill-child"),
                    *("bash", str(_INIT), str(shape.folder), shape.host(node), str(pidfile), *command),
                ],
                env={"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait(f"init of {shape.host(node)}", pidfile.exists, seconds=10)

    def crash(self, node: int) -> None:
        """Kill everything on a node at once, as if its power went: nobody hears a last word from it."""
        subprocess.run(["ip", "link", "set", self._veth(node), "down"], capture_output=True, check=False)
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pidfile(node).read_text())
            if str(_INIT).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)  # init of a pid namespace: the kernel kills all in it
                self._wait(f"node {node} to end", lambda: not _alive(pid), seconds=10)
        self._pidfile(node).unlink(missing_ok=True)

    def on_node(self, node: int, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on a node (0: the controller)."""
        pid = self._pidfile(node).read_text().strip()
        return subprocess.run(
            ["nsenter", "-t", pid, "-n", "-u", "-m", "-i", "-p", "--", *command],
            env={"PATH": _PATH, "HOME": "/root", "MYSQL_UNIX_PORT": str(self.shape.run / "mysql.sock")},
            capture_output=True,
            text=True,
            check=False,
        )

    def processes(self, node: int) -> dict[int, list[str]]:
        """What runs on a node: this machine's process ids, with their command lines."""
        there = Path("/proc", self._pidfile(node).read_text().strip(), "ns", "pid").readlink()
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it may end meanwhile
                if (process / "ns" / "pid").readlink() == there:
                    found[int(process.name)] = (process / "cmdline").read_bytes().decode().split("\0")
        return found

    @contextlib.contextmanager
    def fabric(self) -> Iterator[None]:
        """Inside, the nodes have a second network, eth1, which carries nothing of Slurm's."""
        bridge = f"{self.shape.name}fb"
        _ip("link", "add", bridge, "type", "bridge", "forward_delay", "0")
        try:
            _ip("link", "set", bridge, "up")
            for node in self.nodes:
                namespace, cable = f"{self.shape.name}-{node}", self._cable(node)
                _ip("link", "add", cable, "type", "veth", "peer", "name", "eth1", "netns", namespace)
                _ip("link", "set", cable, "master", bridge, "up")
                _ip("-n", namespace, "addr", "add", f"{self.shape.fabric_address(node)}/24", "dev", "eth1")
                _ip("-n", namespace, "link", "set", "eth1", "up")
            yield
        finally:
            for node in self.nodes:
                subprocess.run(["ip", "link", "del", self._cable(node)], capture_output=True, check=False)
            subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)

    def pull(self, node: int, *, plugged: bool = False) -> None:
        """Pull the cable of a node's fabric, or plug it in again: packets get lost, and nobody is told."""
        _ip("link", "set", self._cable(node), "up" if plugged else "down")

    def limit(self, mbits: int | None) -> None:
        """Let the link of each node carry so many 10^6 bits a second in each direction; None: as many as it can."""
        rate = ("tbf", "rate", f"{mbits}mbit", "burst", "256kb", "latency", "50ms")
        change = ("replace", *rate) if mbits else ("del",)
        for node in self.nodes:
            there = ("ip", "netns", "exec", f"{self.shape.name}-{node}")
            for where, device in (((), self._veth(node)), (there, "eth0")):
                _run(*where, "tc", "qdisc", change[0], "dev", device, "root", *change[1:])

    def sent(self, node: int) -> int:
        """Bytes that a node has sent over its link."""
        return int(Path("/sys/class/net", self._veth(node), "statistics/rx_bytes").read_text())

    def stop_daemon(self, name: str) -> None:
        """End the controller's daemon `name`, e.g. slurmctld, and wait until it is gone."""
        self._end(0, self.shape.run / f"{name}.pid")

    def _end(self, node: int, pidfile: Path) -> None:
        """End a daemon of a node, if it runs."""
        if not pidfile.exists():
            return
        pid = pidfile.read_text().strip()
        self.on_node(node, "kill", pid)
        self._wait(f"{pidfile.stem} to end", lambda: self.on_node(node, "kill", "-0", pid).returncode != 0, seconds=10)

    def start_daemon(self, name: str) -> None:
        """Start a stopped daemon of the controller again."""
        self.on_node(0, name)
        if name == "slurmctld":
            self._wait("slurmctld to answer", lambda: self._succeeds("scontrol", "ping"), seconds=30)
        else:
            self._wait(f"{name} to answer", lambda: self._succeeds("sacct", "-n"), seconds=30)

    @property
    def _bridge(self) -> str:
        return f"{self.shape.name}br"

    def _veth(self, node: int) -> str:
        return f"{self.shape.name}v{node}"

    def _cable(self, node: int) -> str:
        return f"{self.shape.name}f{node}"

    def _pidfile(self, node: int) -> Path:
        return self.shape.run / f"node-{node}.pid"

    def _write(self, shape: conf.Shape) -> None:
        for folder in (shape.etc, shape.run, shape.log, shape.folder / "state", shape.folder / "spool"):
            folder.mkdir(parents=True)
        for name, text in conf.files(shape, socket.gethostname()).items():
            (shape.etc / name).write_text(text)

    def _write_files(self) -> None:
        self._write(self.shape)
        etc = self.shape.etc
        (etc / "epilog").chmod(0o755)
        (etc / "slurmdbd.conf").chmod(0o600)
        key = etc / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        device = self.shape.folder / "dev" / "nvidia0"  # slurmd wants a character device: a copy of /dev/null
        device.parent.mkdir()
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))

    def _connect(self, node: int) -> None:
        namespace, veth = f"{self.shape.name}-{node}", self._veth(node)
        if Path("/run/netns", namespace).exists():
            _ip("link", "set", veth, "up")
            return
        _ip("netns", "add", namespace)
        _ip("link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", veth, "master", self._bridge, "up")
        _ip("-n", namespace, "addr", "add", f"{self.shape.address(node)}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "link", "set", "eth0", "up")

    def _client(self, *command: str, shape: conf.Shape | None = None) -> "subprocess.CompletedProcess[str]":
        env = {"PATH": _PATH, "SLURM_CONF": str((shape or self.shape).slurm_conf)}
        return subprocess.run(["timeout", "5", *command], env=env, capture_output=True, text=True, check=False)

    def _succeeds(self, *command: str, shape: conf.Shape | None = None) -> bool:
        return self._client(*command, shape=shape).returncode == 0

    def _wait(self, what: str, done: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise LabError(f"waited {seconds:.0f} s for {what}; logs in {self.shape.log}")
            time.sleep(0.05)


def missing() -> dict[str, str]:
    """Commands and libraries that are not here, with their packages."""
    absent = {command: package for command, package in PACKAGES.items() if shutil.which(command, path=_PATH) is None}
    pattern, package = PMIX
    return absent if any(Path("/usr/lib").glob(pattern)) else absent | {"libpmix.so": package}


def install(packages: Sequence[str]) -> None:
    """Install Debian packages.

    Raises:
        LabError: apt-get failed; with its last line.
    """
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        waiting = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *command]  # somebody else may be installing
        answer = subprocess.run(waiting, env=env, capture_output=True, text=True, check=False)
        if answer.returncode:
            said = (answer.stderr or answer.stdout).strip().splitlines()
            raise LabError(f"apt-get {command[0]}: {said[-1] if said else answer.returncode}")


def _mounts_below(folder: Path) -> list[str]:
    """Mount points below a folder, the innermost first; a killed `podman` leaves its store mounted on itself."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in reversed(points) if Path(point).is_relative_to(folder)]


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")


def _alive(pid: int) -> bool:
    """Exists and is no zombie: a container's PID 1 may reap late or never."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
