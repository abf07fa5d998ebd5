"""A written model onto the Hugging Face hub: one commit with every file, and nothing when the hub refuses.

The token is huggingface_hub's own affair (`hf auth login` or HF_TOKEN); so is another address (HF_ENDPOINT).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twotower.core.errors import UserError, first_line
from twotower.core.extras import missing


def check(repo: str) -> None:
    """Fails before anything is written where the hub could not be used.

    Args:
        repo: `OWNER/NAME`.

    Raises:
        UserError: for a missing package, a missing token, or a name that the hub does not take.
    """
    package = _package()
    try:
        package.utils.validate_repo_id(repo)
    except package.errors.HFValidationError as error:
        raise UserError(f"--repo {repo}: {first_line(error)}") from error
    if not package.get_token():
        raise UserError(f"--to hub writes to {repo} with a token: `hf auth login`, or set HF_TOKEN.")


def push(folder: Path, repo: str, *, private: bool, message: str) -> str:
    """Makes the repository if it isn't there and commits the folder to it.

    Args:
        folder: what `export` wrote.
        repo: `OWNER/NAME`.
        private: whether a new repository is private.
        message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        UserError: when the hub can't be reached or refuses.
    """
    package = _package()
    try:
        api = package.HfApi(library_name="twotower")
        api.create_repo(repo, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message).commit_url)
    except (package.errors.HfHubHTTPError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"--to hub: {repo} was not written ({first_line(error)}).") from error


def _package() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ModuleNotFoundError as error:
        raise missing("--to hub", "huggingface_hub") from error
    return huggingface_hub
