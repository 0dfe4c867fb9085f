"""Presets of fabrics: every variable has its source, a site's own word wins, and scripts show what is set."""

from pathlib import Path

import pytest
from planned import SLURM, made, with_

from bertjob.config.fabric import Preset
from bertjob.config.load import dump, load_site, read_site
from bertjob.config.search import names
from bertjob.config.site import Fabric, Site
from bertjob.config.validate import build
from bertjob.config.yaml import read_tree
from bertjob.errors import PreflightError, SpecError
from bertjob.rundir.world import FAST_FABRIC


def preset(name: str) -> Preset:
    path = names("fabric")[name]
    return build(read_tree(path.read_text(), str(path)), Preset)


def site(folder: Path, text: str) -> Site:
    path = folder / "mine.yaml"
    path.write_text(f"name: mine\n{text}")
    return load_site(str(path)).value


def refused(folder: Path, text: str) -> str:
    with pytest.raises(SpecError) as error:
        site(folder, text)
    return str(error.value).removeprefix(f"{folder}/")


def exports(text: str) -> dict[str, str]:
    lines = [line.removeprefix("export ").partition("=") for line in text.splitlines() if line.startswith("export ")]
    return {name: value for name, _, value in lines}


def test_there_are_presets_for_the_fabrics_of_the_seeds_and_the_sites() -> None:
    assert {"aries", "ethernet", "infiniband", "slingshot"} <= set(names("fabric"))


@pytest.mark.parametrize("name", names("fabric"))
def test_every_variable_names_a_document_and_every_document_its_date_or_version(name: str) -> None:
    said = preset(name)
    assert said.name == name
    assert {variable.source for variable in said.variables.values()} == set(said.sources)
    assert all(variable.why for variable in said.variables.values() if variable.mpi is None)
    assert all(any(figure.isdigit() for figure in document) for document in said.sources.values())


def test_no_preset_makes_nccl_wait_for_ever_for_a_dead_link() -> None:
    """NCCL's guide: 1 to 31 are exponents, 32 and more mean no timeout."""
    waits = [preset(name).variables.get("NCCL_IB_TIMEOUT") for name in names("fabric")]
    assert [1 <= int(wait.value) <= 31 for wait in waits if wait] == [True]


def test_what_is_fast_is_said_by_the_preset() -> None:
    assert {name for name in names("fabric") if preset(name).fast} == {"infiniband", "slingshot"}


def test_a_sites_own_word_wins_over_the_presets(tmp_path: Path) -> None:
    fabric = "fabric: {preset: slingshot, env: {FI_CXI_RX_MATCH_MODE: software, NCCL_CROSS_NIC: null}}"
    mine = site(tmp_path, f"env: {{NCCL_PROTO: Simple}}\n{fabric}\n")
    said = exports(made(mine))
    assert (said["FI_CXI_RX_MATCH_MODE"], said["NCCL_PROTO"]) == ("software", "Simple")
    assert said["NCCL_NET_GDR_LEVEL"] == "PHB"
    assert "NCCL_CROSS_NIC" not in said
    assert exports(made(mine, env={"NCCL_NET_GDR_LEVEL": "SYS"}))["NCCL_NET_GDR_LEVEL"] == "SYS"


def test_each_variable_keeps_the_place_where_it_was_said(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: s\nfabric:\n  preset: ethernet\n  env: {UCX_TLS: self}\n")
    origins = load_site(str(tmp_path / "s.yaml")).origins
    assert str(origins["fabric.env.NCCL_IB_DISABLE"]).startswith(f"{names('fabric')['ethernet']}:")
    assert str(origins["fabric.env.UCX_TLS"]) == f"{tmp_path}/s.yaml:4"
    assert "fabric.mpi_env.openmpi.UCX_TLS" not in origins


def test_a_resolved_site_reads_back_as_it_is_without_the_presets(tmp_path: Path) -> None:
    mine = site(tmp_path, "fabric: {preset: infiniband, interface: ib0, env: {NCCL_IB_TIMEOUT: null}}\n")
    (tmp_path / "site.yaml").write_text(dump(mine))
    assert read_site(tmp_path / "site.yaml") == mine
    assert load_site(str(tmp_path / "site.yaml")).value == mine


def test_a_preset_of_ones_own_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "bertjob/fabrics").mkdir(parents=True)
    own = "name: omni\ndescription: ''\nfast: true\nsources: {me: '2026'}\nvariables: {A: {value: b, source: me}}\n"
    (tmp_path / "bertjob/fabrics/omni.yaml").write_text(own)
    said = exports(made(site(tmp_path, "fabric: {preset: omni}\n")))
    assert (said[FAST_FABRIC], said["A"]) == ("omni", "b")


def test_what_is_wrong_with_a_preset_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(tmp_path, "fabric: {preset: slingshoot}\n") == (
        "mine.yaml:2: fabric.preset: there is no fabric 'slingshoot': did you mean 'slingshot'?"
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "bertjob/fabrics").mkdir(parents=True)
    for body, complaint in (
        ("variables: {A: {value: b}}", "own.yaml:4: the key 'variables.A.source' is missing"),
        ("variables: {A: {value: b, source: you}}", "variables.A.source: there is no source 'you': known: me"),
        ("variables: {A: {value: b, source: me, mpi: lam}}", "variables.A.mpi: 'lam' is none of openmpi, mpich"),
    ):
        text = f"name: own\ndescription: ''\nfast: true\n{body}\nsources: {{me: '2026'}}\n"
        (tmp_path / "bertjob/fabrics/own.yaml").write_text(text)
        assert complaint in refused(tmp_path, "fabric: {preset: own}\n")


@pytest.mark.parametrize(
    ("launcher", "seen", "unseen"),
    [("openmpi", "OMPI_MCA_pml", "MV2_USE_CUDA"), ("hydra", "MV2_USE_CUDA", "OMPI_MCA_pml"), ("srun", None, None)],
)
def test_variables_of_an_mpi_are_set_with_its_launcher_only(launcher: str, seen: str, unseen: str) -> None:
    of_mpi = {"openmpi": {"OMPI_MCA_pml": "cm"}, "mpich": {"MV2_USE_CUDA": "1"}}
    said = exports(made(with_(SLURM, fabric=Fabric(mpi_env=of_mpi)), launcher=launcher))
    assert (seen in said) == (seen is not None)
    assert unseen not in said
    assert set(said) & {"OMPI_MCA_pml", "MV2_USE_CUDA"} == ({seen} if seen else set())


def test_an_unknown_family_of_mpi_is_refused() -> None:
    with pytest.raises(PreflightError, match=r"fabric\.mpi_env: 'lam' is no MPI family; there are openmpi and mpich"):
        made(with_(SLURM, fabric=Fabric(mpi_env={"lam": {}})))


def test_a_script_shows_the_presets_variables_as_exports_and_says_where_they_are_from(tmp_path: Path) -> None:
    text = made(site(tmp_path, "fabric: {preset: slingshot, interface: hsn0}\n"))
    said = text.partition("# The fabric slingshot: slurm/fabrics/slingshot.yaml says who recommends each of these.\n")[
        2
    ]
    assert said.startswith("export BERTJOB_FAST_FABRIC=slingshot\nexport NCCL_NET_GDR_LEVEL=PHB\n")
    assert "export FI_CXI_DEFAULT_CQ_SIZE=131072\n" in said
    assert "export NCCL_PROTO='^LL128'\n" in said


def test_ranks_are_told_of_a_fast_fabric_and_of_no_other() -> None:
    assert FAST_FABRIC not in made(with_(SLURM, fabric=Fabric(preset="ethernet")))
    assert f"export {FAST_FABRIC}='the fabric of slurm'\n" in made(with_(SLURM, fabric=Fabric(fast=True)))
    assert f"-x {FAST_FABRIC}" in made(with_(SLURM, fabric=Fabric(fast=True)), launcher="openmpi")
