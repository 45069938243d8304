"""Hugging Face hub: without an answer, its cache is used at once, where its client would retry for half a minute."""

import logging
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from huggingface_hub import constants

log = logging.getLogger(__name__)

_SECONDS = 10


def use_cache_if_unreachable(path_or_id: str) -> None:
    """Switch the hub's client to its cache for the rest of the process if the hub does not answer for a model.

    No request is made for a local folder, or where ``HF_HUB_OFFLINE=1`` does the same.
    """
    if Path(path_or_id).exists() or constants.HF_HUB_OFFLINE:
        return
    # Not a bare socket: urllib takes the proxies of the environment. The scheme is the hub's, or that of the user's HF_ENDPOINT.
    request = Request(f"{constants.ENDPOINT}/{path_or_id}/resolve/main/config.json", method="HEAD")  # noqa: S310
    try:
        urlopen(request, timeout=_SECONDS).close()  # noqa: S310
    except HTTPError:
        # An answer; the client explains it.
        return
    except OSError as error:
        log.warning("%s does not answer (%s); only models in its cache can be loaded", constants.ENDPOINT, error)
        constants.HF_HUB_OFFLINE = True
