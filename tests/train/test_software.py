"""What training says of the software that it runs in."""

import logging
import sys
from pathlib import Path

import pytest
from holding import hold
from msgspec.structs import replace

from bertjob.config.job import Image, Job
from bertjob.errors import SpecError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.image_contents import ImageFacts
from bertjob.rundir.provenance import collect, encode
from bertjob.rundir.state import read_state
from bertjob.rundir.world import World
from bertjob.train import software
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.reporting.report import Report
from bertjob.version import __version__

JOB = Job(name="j")


def facts() -> ImageFacts:
    return software._facts()


def said(run: RunDir, seen: ImageFacts, job: Job = JOB) -> str:
    run.provenance.write_bytes(encode(replace(collect("j", "s", "b:1", ()), image_facts=seen)))
    return software.differences(run, job)


def test_the_same_software_is_not_mentioned(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert software.differences(run, JOB) == ""
    assert said(run, facts()) == ""


def test_each_difference_is_named(tmp_path: Path) -> None:
    own = facts()
    packages = {**own.packages, "transformers": "4.0", "bertjob": "0.0.9"}
    there = replace(own, prefix="/opt/conda", packages={name: packages[name] for name in packages if name != "torch"})
    told = said(RunDir(tmp_path), there)
    assert told.startswith("not the software that `bertjob image check` saw in b:1: sys.prefix /opt/conda -> ")
    assert f"sys.prefix /opt/conda -> {sys.prefix}, bertjob 0.0.9 -> {__version__}, torch none -> " in told
    assert f"transformers 4.0 -> {own.packages['transformers']}" in told
    mounted = said(RunDir(tmp_path), there, Job(name="j", image=Image(source="/checkout")))
    assert "bertjob 0.0.9" not in mounted


def test_it_is_a_warning_that_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, world = RunDir(tmp_path), World(rank=0, local_rank=0, size=1, local_size=1, source="local")
    run.provenance.write_bytes(encode(replace(collect("j", "s", "b:1", ()), image_facts=replace(facts(), prefix="/p"))))
    report = Report(hold(run), world, "1")
    with caplog.at_level(logging.WARNING):
        report.start()
        software.compare(run, JOB, Ranks(world, None), report)  # type: ignore[arg-type]
        report.warn("")
        report.end("done", 0)
    state = read_state(run.state)
    assert state is not None
    assert f"sys.prefix /p -> {sys.prefix}" in state.warning
    assert "rank 0: not the software" in caplog.text


def test_a_key_of_a_newer_bertjob_is_told_with_both_versions(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.job.write_text("name: j\nfuture: 1\n")
    with pytest.raises(SpecError, match=r"^[^(]*unknown key 'future'[^(]*$"):
        software.read(run.job)
    run.provenance.write_bytes(encode(replace(collect("j", "s", None, ()), bertjob="99.1")))
    told = rf"unknown key 'future'.*bertjob 99\.1 has made this run, and here is bertjob {__version__} in /"
    with pytest.raises(SpecError, match=told):
        software.read(run.job)
    run.job.write_text("name: j\n")
    assert software.differences(run, software.read(run.job)) == f"bertjob is {__version__}, the login node's 99.1"
