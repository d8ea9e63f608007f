"""``stylellm download``: bring a base model to this machine and verify it."""

from __future__ import annotations

import argparse
from typing import Any

EXAMPLE = """\
example:
  stylellm download --model Qwen/Qwen2.5-7B
  stylellm download --model Qwen/Qwen2.5-7B --use-mirror          (hf-mirror.com, from China)
  stylellm download --model Qwen/Qwen2.5-7B --source modelscope   (pip install modelscope-hub)
  stylellm download --model Qwen/Qwen2.5-0.5B --local_dir models/qwen-0.5b

Run it again after a cut: it goes on where it stopped. HF_ENDPOINT, HF_TOKEN, HF_HOME,
HF_HUB_OFFLINE, HTTPS_PROXY, MODELSCOPE_ENDPOINT, MODELSCOPE_API_TOKEN and MODELSCOPE_CACHE are
honoured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("--model", required=True, metavar="ID", help="for example Qwen/Qwen2.5-7B")
    parser.add_argument(
        "--source",
        choices=("auto", "hf", "mirror", "modelscope"),
        default=None,
        help="where from (auto: the first of them that answers; HF_ENDPOINT if that is set)",
    )
    parser.add_argument(
        "--use_mirror", "--use-mirror", action="store_true", help="same as --source mirror"
    )
    parser.add_argument(
        "--local_dir", "--local-dir", metavar="DIR", help="put the files there, not in the cache"
    )
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit (the newest)")
    parser.add_argument(
        "--max_workers", "--max-workers", type=int, default=4, metavar="N",
        help="files at a time (4)",
    )  # fmt: skip
    parser.add_argument(
        "--dry_run", "--dry-run", action="store_true", help="list what would come; bring nothing"
    )


def run(args: argparse.Namespace) -> int:
    from stylellm.errors import ModelError
    from stylellm.hub.download import download, gigabytes
    from stylellm.hub.progress import Bars

    if args.use_mirror and args.source not in (None, "mirror"):
        raise ModelError(
            f"--use-mirror and --source {args.source} contradict each other", "one of them"
        )
    with Bars() as progress:
        result = download(
            args.model,
            source="mirror" if args.use_mirror else args.source or "auto",
            revision=args.revision,
            local_dir=args.local_dir,
            max_workers=args.max_workers,
            dry_run=args.dry_run,
            progress=progress,
        )
    listing = result.record.listing
    if args.dry_run:
        for file in result.fetched:
            print(f"  {file.path}  {gigabytes(file.size)}")
        print(f"to download: {_count(result.fetched)}, into {result.record.folder}")
        return 0
    print(f"{listing.model}: {_count(listing.files)}, all verified")
    print(f"downloaded now: {_count(result.fetched)}" if result.fetched else "nothing was missing")
    print(f"folder: {result.record.folder}")
    print("\nput into train_config.yaml:")
    print(settings(result, args.local_dir))
    return 0


def _count(files: Any) -> str:
    from stylellm.hub.download import gigabytes

    plural = "s" if len(files) != 1 else ""
    return f"{len(files)} file{plural}, {gigabytes(sum(file.size for file in files))}"


def settings(result: Any, local_dir: str | None) -> str:
    """The lines of YAML that name the model: its id where it is found by that, else its folder."""
    import yaml

    listing = result.record.listing
    model = {"model_name_or_path": result.record.folder.as_posix() if local_dir else listing.model}
    if listing.revision and not local_dir:
        model["revision"] = listing.revision
    return yaml.safe_dump({"model": model}, allow_unicode=True, sort_keys=False).rstrip()
