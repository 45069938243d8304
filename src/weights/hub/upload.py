"""Upload of a model folder to the Hugging Face hub, in one commit."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from src.files.saved_networks import read_json_object
from src.weights.folder_files import CARD_FILE, CLIP_FORMAT, CONFIG_FILE, WEIGHTS_FILE
from src.weights.hub.card import PICTURES
from src.weights.hub.download import explained
from src.weights.model_folder import FORMAT

log = logging.getLogger(__name__)

FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, *PICTURES)
"""Files of a model folder that are uploaded, those of them that exist."""


def check_id(repo_id: str) -> None:
    """Raise a ``ValueError`` if an id is not of the form ``<owner>/<name>``."""
    if repo_id.count("/") != 1:
        raise ValueError(
            f"repo_id is {repo_id!r}; expected <owner>/<name>, the owner being your user name or an organization of yours"
        )
    with explained(repo_id):
        validate_repo_id(repo_id)


def check_upload(repo_id: str, token: str | None = None) -> None:
    """Check that a model can be uploaded, by one request: the form of the id, the token, and its owner's right to the id.

    Raises:
        OSError: if the hub cannot be reached or refuses the token.
        ValueError: if the id has another form, there is no token, or its user is neither the owner nor in that organization.
    """
    check_id(repo_id)
    token = token or get_token()
    if token is None:
        raise ValueError(f"no token for {constants.ENDPOINT}; expected one that may write; run `hf auth login`, or set HF_TOKEN")
    with explained(repo_id):
        user = HfApi().whoami(token)
    owners = [str(user.get("name")), *(str(one.get("name")) for one in user.get("orgs") or ())]
    if repo_id.partition("/")[0] not in owners:
        raise ValueError(f"repo_id is {repo_id!r}, and the token is of {owners[0]}; expected an owner of {', '.join(owners)}")


def push_folder(
    folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    token: str | None = None,
    message: str = "Upload model",
) -> str:
    """Upload a model folder of this project, creating the repository where there is none, and return the URL of the commit.

    Args:
        folder: model folder, with its card and pictures.
        repo_id: ``<owner>/<name>``.
        private: visibility of a new repository; ``None``: the owner's default. An existing one keeps its own.
        token: access token that may write; ``None``: that of ``hf auth login`` or ``HF_TOKEN``.
        message: of the commit.

    Raises:
        FileExistsError: if the repository contains a model of another kind; nothing is uploaded.
        OSError: if the hub cannot be reached or refuses the upload.
        ValueError: if the folder is no model folder.
    """
    folder = Path(folder)
    check_kind(read_json_object(folder / CONFIG_FILE), folder)
    files = [name for name in FILES if (folder / name).is_file()]
    api = HfApi(token=token)
    with explained(repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)
    _check_replaced(repo_id, token)
    with explained(repo_id):
        additions = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in files]
        commit = api.create_commit(repo_id, additions, commit_message=message)
    log.info("uploaded: %s (%s)", commit.commit_url, ", ".join(files))
    return str(commit.commit_url)


def check_kind(config: Mapping[str, Any], folder: Path) -> None:
    """Raise a ``ValueError`` if the config of a folder is not that of a model of this project."""
    if config.get("format") not in (FORMAT, CLIP_FORMAT):
        raise ValueError(f"{folder / CONFIG_FILE} is of another kind; expected a model folder of this project")


def _check_replaced(repo_id: str, token: str | None) -> None:
    """Raise ``FileExistsError`` if a repository has a config that is not of this project."""
    with explained(repo_id):
        try:
            path = Path(hf_hub_download(repo_id, CONFIG_FILE, token=token))
        except EntryNotFoundError:
            return
    found = read_json_object(path).get("format")
    if found not in (FORMAT, CLIP_FORMAT):
        raise FileExistsError(
            f"{repo_id} has a {CONFIG_FILE} of another kind; expected a model of this project, or a new repository"
        )
