"""Models of the Hugging Face hub: only files of a model are fetched, as data, and compared with the hashes that the hub lists."""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import RepoFile, constants, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from src.files.saved_networks import read_json_object
from src.models.segmentors.hub import use_cache_if_unreachable
from src.weights.folder_files import CARD_FILE, CLIP_FORMAT, CONFIG_FILE, WEIGHTS_FILE
from src.weights.model_folder import FORMAT, FORMAT_VERSION
from src.weights.shipped import SHIPPED_MODELS, shipped_model

log = logging.getLogger(__name__)

_OWN_FOLDERS = (("outputs",), ("data",), ("models",), ("checkpoints",), ("weights",), ("runs",))
_ADDRESS = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
# The client joins a revision to the path of its cache.
_REVISION = re.compile(r"(?!.*\.\.)[^/\\\s]+(/[^/\\\s]+)*")
_OURS = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)
# transformers takes pickled weights only where there are no others.
_SAVED, _PICKLED = ("*.json", "*.safetensors"), ("pytorch_model*.bin",)


@dataclass(frozen=True)
class HubAccess:
    """Place and rights of downloads from the hub.

    Attributes:
        revision: branch, tag or commit; ``None``: ``main``.
        cache_dir: folder of downloaded files; ``None``: that of the hub's client.
        local_files_only: whether only downloaded files are read.
        token: access token; ``None``: that of ``hf auth login`` or ``HF_TOKEN``.
    """

    revision: str | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    token: str | None = None


MAIN = HubAccess()
"""Newest state of a repository, by the user's own cache and token."""


def local_folder(checkpoint: str | Path, access: HubAccess = MAIN) -> Path:
    """Return the local path of a checkpoint; a model of the hub is downloaded to the cache, unless it is there.

    Args:
        checkpoint: path, name of a shipped model, or id on the hub, ``<owner>/<name>`` or ``<owner>/<name>@<revision>``.
        access: place and rights of a download.

    Raises:
        FileNotFoundError: if it is none of these, or a repository has no model.
        OSError: if a repository or revision does not exist or cannot be read.
        ValueError: if the repository's model is of another kind or newer than this code, a file differs from the hash of the hub,
            or a revision is given twice or for a local path.
    """
    path = shipped_model(checkpoint)
    if path.exists():
        if access.revision is not None:
            raise ValueError(f"revision is {access.revision!r} for the local path {checkpoint}; only hub ids have one")
        return path
    address = _ADDRESS.fullmatch(str(checkpoint))
    # An owner on the hub never has the name of a folder here, nor of those that this project writes.
    is_local = path.is_symlink() or path.parent.exists() or path.parts[:1] in _OWN_FOLDERS
    if is_local or address is None or path.suffix in (".ckpt", ".safetensors"):
        found = "is a link to nothing" if path.is_symlink() else "does not exist"
        raise FileNotFoundError(
            f"{checkpoint} {found}; expected a model folder, a .safetensors or .ckpt file, a hub id, "
            f"or {', '.join(SHIPPED_MODELS)}"
        )
    repo_id, revision = address.groups()
    if None not in (revision, access.revision):
        raise ValueError(f"revision is {access.revision!r} for {checkpoint}, which has one; expected one of them")
    return fetch(repo_id, access if revision is None else replace(access, revision=revision))


def fetch(repo_id: str, access: HubAccess = MAIN) -> Path:
    """Download the model of a repository, of this project or of transformers, and return its folder in the cache.

    The config is read first, so that nothing else of a foreign repository is downloaded. Errors: see :func:`local_folder`.
    """
    if access.revision is not None and not _REVISION.fullmatch(access.revision):
        raise ValueError(f"revision is {access.revision!r} for {repo_id}; expected a branch, tag or commit")
    if not access.local_files_only:
        use_cache_if_unreachable(repo_id)
    folder = _download(repo_id, access, [CONFIG_FILE])
    at_commit = replace(access, revision=folder.name)
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{repo_id} has no {CONFIG_FILE}; expected a model of this project or of transformers")
    with named_as(folder, repo_id):
        is_ours = _is_ours(read_json_object(folder / CONFIG_FILE), repo_id)
    _download(repo_id, at_commit, _OURS if is_ours else _SAVED)
    if not is_ours and not any(folder.glob("*.safetensors")):
        _download(repo_id, at_commit, _PICKLED)
    if is_ours and not (folder / WEIGHTS_FILE).is_file():
        raise FileNotFoundError(f"{repo_id} has no {WEIGHTS_FILE}; expected it beside {CONFIG_FILE}")
    _check_hashes(repo_id, folder, access)
    log.debug("%s: commit %s, in %s", repo_id, folder.name, folder)
    return folder


@contextmanager
def named_as(folder: Path, name: str | Path) -> Iterator[None]:
    """Replace the path of a folder by the name that the user gave in errors of reading it."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        if str(folder) in (str(name), "."):
            raise
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(str(error).replace(str(folder), str(name))) from error


def _is_ours(config: dict[str, Any], repo_id: str) -> bool:
    """Return whether a config is of this project, else of transformers; others, and newer versions, are a ``ValueError``."""
    if "format" not in config and "model_type" in config:
        return False
    if config.get("format") not in (FORMAT, CLIP_FORMAT):
        found = f"format {str(config['format'])[:80]!r}" if "format" in config else "no format and no model_type"
        raise ValueError(
            f"{repo_id}: its {CONFIG_FILE} has {found}; expected {FORMAT!r} or {CLIP_FORMAT!r} of this project, or a model of "
            "transformers"
        )
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{repo_id}: format_version is {str(version)[:80]}; expected {FORMAT_VERSION}; update this code, or choose an "
            "earlier revision"
        )
    return True


def _download(repo_id: str, access: HubAccess, patterns: Sequence[str]) -> Path:
    with explained(repo_id, access.revision):
        return Path(
            snapshot_download(
                repo_id,
                revision=access.revision,
                cache_dir=access.cache_dir,
                local_files_only=access.local_files_only,
                token=access.token,
                allow_patterns=list(patterns),
            )
        )


@contextmanager
def explained(repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Explain errors of the hub's client in one line each, an ``OSError`` or ``ValueError`` that names the repository.

    The lines that the client logs for its requests are left out.
    """
    requests = logging.getLogger("httpx2")
    level = requests.level
    requests.setLevel(logging.WARNING)  # a line for each request
    try:
        yield
    except GatedRepoError as error:
        raise OSError(
            f"{repo_id} is gated; accept its conditions at {constants.ENDPOINT}/{repo_id} and run `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise OSError(
            f"{repo_id} is not on {constants.ENDPOINT}, or private; expected the id of a model; for a private one, run "
            "`hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise OSError(f"{repo_id} has no revision {revision!r}; expected a branch, tag or commit of it") from error
    except LocalEntryNotFoundError as error:
        at = "" if revision is None else f" at revision {revision!r}"
        raise OSError(
            f"{repo_id}{at} is not in the cache of the hub, and nothing is downloaded without a connection, with "
            "HF_HUB_OFFLINE=1 or local_files_only; load it once with a connection, or give a local folder"
        ) from error
    except HFValidationError as error:
        raise ValueError(f"{repo_id} is no id of the hub: {_line(error)}") from error
    # The client raises errors of many types for a connection that ends.
    except Exception as error:
        raise OSError(f"{repo_id}: {constants.ENDPOINT} refused or broke off: {_line(error)}") from error
    finally:
        requests.setLevel(level)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _check_hashes(repo_id: str, folder: Path, access: HubAccess) -> None:
    """Raise a ``ValueError`` if a downloaded file differs from its hash in the hub's list of the commit."""
    try:
        listed = get_cached_repo_tree(repo_id, revision=folder.name, cache_dir=access.cache_dir)
    except CachedRepoTreeNotFoundError:
        log.info("%s: the cache has no hashes of it, as another program filled it", repo_id)
        return
    for file in listed:
        path = folder / file.path
        if path.is_file() and _hash(path, file) != (file.blob_id if file.lfs is None else file.lfs.sha256):
            raise ValueError(
                f"{repo_id}: {file.path} differs from the hash that the hub lists; expected the file of commit "
                f"{folder.name[:12]}; delete {path.resolve()} and load it again"
            )


def _hash(path: Path, listed: RepoFile) -> str:
    """Return the sha256 of a large file, as the hub lists it, or git's hash of a small one."""
    with path.open("rb") as file:
        if listed.lfs is not None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        content = file.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
