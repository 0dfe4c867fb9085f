"""The file with the secret of a start."""

import stat

import pytest

from bertjob.errors import WorldError
from bertjob.train.distributed.secret import make_secret, new_secret, read_secret


def test_all_ranks_read_the_secret_that_rank_0_has_made_and_it_is_removed(tmp_path):
    path = tmp_path / ".secret"
    path.write_bytes(b"that of an earlier start, which others could read")
    made = make_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = read_secret(path, 1)
    assert read == made
    assert read.key("store") == made.key("store")
    read.remove()
    assert not path.exists()


def test_a_secret_is_never_printed():
    secret = new_secret()
    assert repr(secret) == "Secret(path=None)"
    assert repr(secret.key("store")) == "Key()"


def test_keys_of_different_uses_and_starts_differ():
    secret = new_secret()
    assert len({secret.key("store"), secret.key("ring"), new_secret().key("store")}) == 3


def test_parts_are_signed_with_their_borders():
    key = new_secret().key("store")
    assert key.signed(key.sign(b"a", b"b"), b"a", b"b")
    assert not key.signed(key.sign(b"a", b"b"), b"ab", b"")


@pytest.mark.parametrize(
    ("content", "mode", "fault"),
    [
        (None, 0o600, "No such file or directory"),
        (b"s" * 32, 0o640, "others may read it (mode 0640)"),
        (b"s" * 32, 0o606, "others may read it (mode 0606)"),
        (b"", 0o600, "0 bytes"),
        (b"short", 0o600, "5 bytes"),
    ],
)
def test_a_file_that_is_no_secret_is_refused(tmp_path, content, mode, fault):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(WorldError) as raised:
        read_secret(path, 0.1)
    assert str(raised.value) == (
        f"BERTJOB_SECRET_FILE={path}: {fault}; expected a file of at least 16 random bytes with mode 0600,"
        " a new one for each start"
    )


def test_a_folder_that_takes_no_secret_is_named(tmp_path):
    with pytest.raises(WorldError, match="No such file or directory; by this file the ranks recognise each other"):
        make_secret(tmp_path / "none" / ".secret")
