"""The manifest of prepared data: where it came from, what was done, how much came out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from stylellm import __version__
from stylellm.corpus.packing import Row
from stylellm.corpus.plan import AUTHOR, GENERAL, SPLITS, Leaks, Source
from stylellm.corpus.read import Skipped
from stylellm.corpus.tokens import plain

Manifest = dict[str, Any]

VERSION = 2
"""Of the format and of what preparing does; raised when either changes."""

_SMALL_BOOK = 20_000
_DOUBTFUL_MARGIN = 0.15
_LARGE_SHARE = 0.1
_EXPECTED_LOSSES = ("line_ends", "spaces", "layout")
_LEAKS_SHOWN = 50
_SAID_ONE_BY_ONE = 6


@dataclass
class Counts:
    """What came out, as it is written: per file and split, and the works of each split."""

    sources: dict[int, dict[str, Counter[str]]] = field(default_factory=dict)
    works: dict[str, set[str]] = field(default_factory=dict)

    def add(self, split: str, rows: Iterable[Row]) -> None:
        """Count windows."""
        for row in rows:
            count = self.sources.setdefault(row.source, {}).setdefault(split, Counter())
            count["windows"] += 1
            count["tokens"] += row.num_tokens
            count["characters"] += len(row.text)
            count["documents"] += len(row.documents) if row.ends_document else 0
            self.works.setdefault(split, set()).add(row.work)

    def of_source(self, number: int) -> dict[str, dict[str, int]]:
        return {name: _plain(count) for name, count in self.sources.get(number, {}).items()}

    def of_split(self, split: str) -> dict[str, int]:
        total: Counter[str] = Counter()
        for counts in self.sources.values():
            total.update(counts.get(split, {}))
        return _plain(total) | {"works": len(self.works.get(split, ()))}


def _plain(count: Mapping[str, int]) -> dict[str, int]:
    return {name: count.get(name, 0) for name in ("windows", "tokens", "characters", "documents")}


def build_manifest(
    settings: dict[str, Any],
    sources: Sequence[Source],
    counts: Counts,
    splits: Sequence[str],
    leaks: Leaks,
    skipped: Sequence[Skipped],
    identity: dict[str, str],
) -> Manifest:
    """Everything known about one run of `prepare`, as plain JSON values.

    Args:
        splits: names of the splits that were written.
        identity: of the tokenizer (see `tokenizer_identity`).
    """
    entries = [_source_entry(source, counts.of_source(i)) for i, source in enumerate(sources)]
    for entry in entries:
        _check_conserved(entry)
    manifest = {
        "version": VERSION,
        "stylellm": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "author": settings["author"] or _author(sources),
        "fingerprint": fingerprint(settings, map(hash_of, sources), identity["fingerprint"]),
        "tokenizer": identity,
        "settings": settings,
        "splits": {name: counts.of_split(name) for name in splits},
        "sources": entries,
        "leaks": {
            "characters": leaks.characters,
            "found": len(leaks.found),
            "dropped": leaks.dropped[:_LEAKS_SHOWN],
            "examples": [
                {"train": leak.train, "held": leak.held, "length": leak.length,
                 "text": leak.text[:120]}
                for leak in leaks.found[:_LEAKS_SHOWN]
            ],
        },
        "skipped": [{"name": one.name, "reason": one.reason} for one in skipped],
    }  # fmt: skip
    manifest["warnings"] = _warnings(manifest)
    return json.loads(json.dumps(manifest))  # lists for tuples, as a reader of the file gets them


def hash_of(source: Source) -> tuple[str, ...]:
    """What decides a file's part in the result: its role, its names, its bytes."""
    file = source.file
    return (source.role, file.name, file.title, file.author, source.digest.sha256)


def fingerprint(settings: dict[str, Any], hashes: Iterable[tuple[str, ...]], tokenizer: str) -> str:
    """Hash of all that decides the result; `hashes` as `hash_of` gives them."""
    decisive = [VERSION, settings, list(hashes), tokenizer]
    return _hash(json.dumps(decisive, sort_keys=True, ensure_ascii=True))


def tokenizer_identity(tokenizer: Any) -> dict[str, str]:
    """Name, end-of-text token, and a hash of the tokenizer's rules and vocabulary."""
    return {
        "name": str(getattr(tokenizer, "name_or_path", "")),
        "fingerprint": tokenizer_fingerprint(tokenizer),
        "eos_token": str(tokenizer.eos_token),
    }


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash of the tokenizer's rules and vocabulary, not of its name or padding."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return _hash(json.dumps(sorted(tokenizer.get_vocab().items())))
    return _hash(plain(backend).to_str() + str(tokenizer.eos_token))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def _author(sources: Sequence[Source]) -> str:
    """The authors that the books name; "" where most books name nobody."""
    named = [source.digest.author for source in sources if source.role == AUTHOR]
    return "、".join(sorted(set(named) - {""})) if 2 * named.count("") <= len(named) else ""


def _source_entry(source: Source, splits: dict[str, dict[str, int]]) -> dict[str, Any]:
    digest, file = source.digest, source.file
    return {
        "role": source.role,
        "path": file.location,
        "name": file.name,
        "title": digest.title,
        "author": digest.author,
        "sha256": digest.sha256,
        "bytes": digest.num_bytes,
        "encoding": digest.encoding,
        "encoding_margin": digest.margin,
        "replacements": digest.replacements,
        "damage": [asdict(damage) for damage in digest.damage],
        "mojibake": digest.mojibake,
        "documents": len(digest.documents),
        "chapters": source.chapters,
        "characters": _characters(source),
        "rules": [asdict(rule) for rule in digest.report if rule.count],
        "modern": {
            "places": dict(digest.modern.most_common()),
            "examples": digest.modern_examples,
            "protected": dict(digest.modern_protected.most_common()),
        },
        "duplicates": asdict(source.repeats),
        "splits": splits,
    }


def _characters(source: Source) -> dict[str, int]:
    """in + added - removed - line_breaks - duplicates - balanced - leaked = kept.

    Each is counted where it happened; `kept` is counted in the sections that were cut.
    """
    digest = source.digest
    removed = sum(rule.removed for rule in digest.report)
    added = sum(rule.added for rule in digest.report)
    return {
        "in": digest.characters_in,
        "removed": removed,
        "added": added,
        "changed": sum(rule.changed for rule in digest.report),
        "line_breaks": digest.characters_in - removed + added - digest.characters_clean,
        "duplicates": source.repeats.characters,
        "balanced": source.balanced,
        "leaked": source.leaked,
        "kept": source.kept,
    }


def _check_conserved(entry: dict[str, Any]) -> None:
    """Characters read = kept + removed, and every kept one is in exactly one window.

    Raises:
        AssertionError: they are not, which would be a bug of ours.
    """
    count, title = entry["characters"], entry["title"]
    lost = ("removed", "line_breaks", "duplicates", "balanced", "leaked")
    if min(count.values()) < 0:
        raise AssertionError(f"{title}: a count below 0 in {count}")
    if count["in"] + count["added"] != count["kept"] + sum(count[name] for name in lost):
        raise AssertionError(f"{title}: characters do not add up: {count}")
    in_windows = sum(split["characters"] for split in entry["splits"].values())
    if in_windows != count["kept"]:
        raise AssertionError(f"{title}: {in_windows} characters in windows, {count['kept']} kept")


def _warnings(manifest: Manifest) -> list[str]:
    """What a person should look at before training; what many files share is said once."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for entry in manifest["sources"]:
        for kind, problem in _problems(entry):
            kinds.setdefault(kind, []).append((entry["name"], problem))
    found = []
    for kind, problems in kinds.items():
        if len(problems) <= _SAID_ONE_BY_ONE:
            found += [f"{name}: {problem}" for name, problem in problems]
        else:
            names = ", ".join(name for name, _ in problems[:_SAID_ONE_BY_ONE])
            found.append(f"{len(problems)} files: {kind} ({names}, ...)")
    for name, counts in manifest["splits"].items():
        if not counts["windows"] and name in SPLITS[AUTHOR].values():
            found.append(f"the {name} split is empty: the books are too small to hold text out")
    if GENERAL not in {entry["role"] for entry in manifest["sources"]}:
        found.append(
            "no general text: loss of general ability cannot be measured (data.general_text)"
        )
    leaks = manifest["leaks"]
    if leaks["found"]:
        found.append(f"{leaks['found']} passages of training text stood in held-out text, too; "
                     f"they were cut out ({leaks['characters']} characters)")  # fmt: skip
    skipped = manifest["skipped"]
    if skipped:
        names = "; ".join(f"{one['name']} ({one['reason']})" for one in skipped[:5])
        found.append(f"{len(skipped)} files skipped: {names}{'; ...' * (len(skipped) > 5)}")
    return found


def _problems(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(kind, what exactly) of what is odd about one file."""
    characters = entry["characters"]
    if entry["replacements"]:
        first = entry["damage"][0] if entry["damage"] else None
        where = f", the first at byte {first['offset']}, line {first['line']}" if first else ""
        yield (
            "damaged places",
            f"{entry['replacements']} damaged places ({entry['encoding']}{where})",
        )
    if entry["mojibake"]:
        yield (
            "garbled text restored",
            f"garbled text ({entry['mojibake']}) was restored; look at it",
        )
    if entry["encoding_margin"] < _DOUBTFUL_MARGIN:
        margin = f"{entry['encoding']}, margin {entry['encoding_margin']:.2f}"
        yield "the encoding is doubtful", f"the encoding is doubtful ({margin})"
    if characters["kept"] == 0:
        yield "nothing is left of them", "nothing is left of it"
    for rule in entry["rules"]:
        share = rule["removed"] / max(1, characters["in"])
        if rule["rule"] not in _EXPECTED_LOSSES and share > _LARGE_SHARE:
            what = f"rule {rule['rule']} removed"
            yield f"{what} much of them", f"{what} {share:.0%} of it; look at the samples"
    if characters["duplicates"] > _LARGE_SHARE * characters["in"]:
        share = characters["duplicates"] / characters["in"]
        of = entry["duplicates"]["of"]
        others = ", ".join(sorted(of, key=lambda name: -of[name])[:3])
        yield "much stands in other files already", f"{share:.0%} of it stands in {others} already"
    if entry["role"] == AUTHOR:
        if characters["in"] < _SMALL_BOOK:
            yield f"under {_SMALL_BOOK} characters", f"only {characters['in']} characters"
        if entry["chapters"] == 1 and entry["documents"] == 1:
            yield "no chapters were found", "no chapters were found in it"
