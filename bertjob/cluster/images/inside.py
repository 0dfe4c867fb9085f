"""What an image holds, found from inside of it: this file is the program that is started there.

It stands alone: the standard library only, Python 3.8 or newer. Its last line of output is one JSON object; what cannot
be found is left out, for the side that reads it to judge.
"""

from __future__ import annotations  # Pythons before 3.10 run this, too

import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

MODULES = {"PyYAML": "yaml"}
"""Modules that are not called as their distribution."""
_TIMEOUT_S = 60
_LIBRARY = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.Get_library_version())"
"""Names the MPI that a Python program loads, without MPI_Init: that would ask whoever started this one."""
_NAMES = (("openmpi", r"Open MPI v?(\d[\w.]*)"), ("mpich", r"(?:MPICH|MVAPICH2?|Intel\(R\) MPI)\D*(\d[\w.]*)"))


def said(*command: str) -> str:
    """What a command prints, or nothing where it is not there, fails or hangs."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def packages(names: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Versions of the distributions that are there, and why one that is there cannot be imported."""
    versions: dict[str, str] = {}
    broken: dict[str, str] = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
            importlib.import_module(MODULES.get(name, name))
        except importlib.metadata.PackageNotFoundError:
            continue
        except BaseException as error:  # a broken installation raises anything
            text = str(error).strip().splitlines()
            broken[name] = "{}: {}".format(type(error).__name__, text[0] if text else "")
    transformers = sys.modules.get("transformers")
    if "torch" in versions and transformers is not None and not transformers.utils.is_torch_available():
        broken["transformers"] = "does without torch {}, which it takes for too old".format(versions["torch"])
    return versions, broken


def torch_facts() -> dict[str, Any]:
    """How torch was built, and the GPUs that it sees."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    facts: dict[str, Any] = {"cuda": torch.version.cuda, "rocm": getattr(torch.version, "hip", None)}
    if facts["cuda"] or facts["rocm"]:
        facts["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
        facts["architectures"] = torch.cuda.get_arch_list()
    if torch.cuda.is_available():
        facts["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return facts


def mpi_facts() -> dict[str, Any]:
    """The MPI: what mpi4py loads, else what stands on PATH."""
    text = said(sys.executable, "-c", _LIBRARY) or said("ompi_info", "--version") or said("mpichversion")
    text = text or said("mpirun", "--version")
    for family, pattern in _NAMES:
        match = re.search(pattern, text)
        if match:
            mpi = {"family": family, "version": match.group(1), "pmi": pmi(family, match.group(1))}
            return {"mpi": mpi, "mpi_said": text.strip().splitlines()[0].strip("\0")}
    return {}


def pmi(family: str, version: str) -> list[str]:
    """What the MPI speaks to whoever starts its ranks; empty: what its family and version always have."""
    if family == "openmpi":
        lines = re.findall(r"^mca:pmix:(\w+):", said("ompi_info", "--parsable"), flags=re.MULTILINE)
        kinds = {"s1": "pmi1", "s2": "pmi2"}
        spoken = {kinds.get(name, "pmix") for name in lines if name not in ("isolated", "flux")}
        return sorted(spoken) if int(version.split(".")[0]) < 5 else []
    options = said("mpichversion") + said("mpiname", "-a")
    match = re.search(r"--with-(?:pmi|pm)=\W*(pmix|pmi2|pmi1)", options)
    return ["pmix"] if "--with-pmix" in options else [match.group(1)] if match else []


def main(names: list[str]) -> None:
    """Print what is found, as JSON."""
    versions, broken = packages(names)
    python = ".".join(map(str, sys.version_info[:3]))
    facts: dict[str, Any] = {"python": python, "prefix": sys.prefix, "packages": versions, "broken": broken}
    for find in (torch_facts, mpi_facts):
        try:
            facts.update(find())
        except Exception as error:
            facts["broken"][find.__name__] = str(error)
    print("\n" + json.dumps({name: value for name, value in facts.items() if value is not None}), flush=True)
    os._exit(0)  # libraries that were imported may hang or abort at the interpreter's end


if __name__ == "__main__":
    main(sys.argv[1:])
