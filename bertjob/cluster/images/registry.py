"""The digest of an image in its registry, asked by the distribution protocol without pulling anything.

Reference: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping

from bertjob.config import bounded
from bertjob.errors import DataError, SpecError
from bertjob.launch.engines.references import REFERENCE

_TIMEOUT_S = 30
_DOCKER_HUB = "registry-1.docker.io"
_KINDS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_FIELD = re.compile(r'(\w+)="([^"]*)"')


def registry_digest(ref: str) -> str:
    """The digest of ``HOST/NAME[:TAG]``, as ``sha256:…``.

    Raises:
        SpecError: that is no such reference.
        DataError: the registry cannot be reached or does not have the image.
    """
    if not REFERENCE.fullmatch(ref):
        raise SpecError(f"{ref!r}: is no image of a registry; write it like nvcr.io/nvidia/pytorch:24.11-py3")
    host, name, tag = _parts(ref)
    scheme = "http" if host.partition(":")[0] in ("localhost", "127.0.0.1") else "https"
    url = f"{scheme}://{host}/v2/{name}/manifests/{tag}"
    try:
        try:
            return _ask(url, {})
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            if error.code != 401 or not challenge.lower().startswith("bearer"):
                raise
            return _ask(url, {"Authorization": f"Bearer {_token(challenge)}"})
    except urllib.error.HTTPError as error:
        reason = "has no such image, or shows it to nobody" if error.code in (401, 403, 404) else f"said {error.code}"
        raise DataError(f"{ref}: the registry {host} {reason}") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError, OSError, KeyError, ValueError) as error:
        said = getattr(error, "reason", error)
        raise DataError(f"{ref}: the registry {host} cannot be asked from here ({said})") from None


def _parts(ref: str) -> tuple[str, str, str]:
    """Host, name and tag or digest."""
    first, slash, rest = ref.partition("/")
    host, path = (first, rest) if slash and ("." in first or ":" in first or first == "localhost") else ("", ref)
    name, _, digest = path.partition("@")
    name, _, tag = name.partition(":")
    if host in ("", "docker.io"):
        host, name = _DOCKER_HUB, name if "/" in name else f"library/{name}"
    return host, name, digest or tag or "latest"


def _ask(url: str, headers: Mapping[str, str]) -> str:
    request = urllib.request.Request(url, headers={"Accept": _KINDS, **headers}, method="HEAD")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        digest = answer.headers["Docker-Content-Digest"]
    if digest is None:
        raise ValueError("it answers without a digest")
    return str(digest)


def _token(challenge: str) -> str:
    """What the registry's own guard gives to anybody who asks."""
    said = dict(_FIELD.findall(challenge))
    # Its answer goes to the registry: a file of this machine, which urllib would open as well, is none of it.
    if urllib.parse.urlsplit(said["realm"]).scheme not in ("https", "http"):
        raise ValueError(f"it sends to {said['realm']} for a token")
    query = urllib.parse.urlencode({key: said[key] for key in ("service", "scope") if key in said})
    with urllib.request.urlopen(f"{said['realm']}?{query}", timeout=_TIMEOUT_S) as answer:
        told = bounded.parse_json(bounded.read_stream(answer, bounded.SMALL, said["realm"]))
    return str(told.get("token") or told["access_token"])
