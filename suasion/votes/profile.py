"""`suasion profile`: look at a votes file, say what was understood of it, and write a profile that runs on it.

The profile is a copy of another with the parts that the data decide. Given up: choosing a model or training settings; they
stay those of the copied profile.
"""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from suasion.errors import SuasionError
from suasion.params import TableSource, data_folder, load_params
from suasion.records import CHOICES, SPLITS
from suasion.votes.guess import guess_columns
from suasion.votes.rows import comparable
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources.files import folder_of, locate, rows, snapshot_of, text
from suasion.votes.sources.table import chosen_by_name, meaning_of, split_of, votes_of

PROFILES = Path("profiles")
MAX_ROWS = 200_000
"""Rows that are counted; of a longer file the counts are those of its beginning."""

MAX_FAR_ROWS = 5_000
"""The same for what comes over the network."""

_FIRST = 100  # rows whose columns are looked at
_TRIED = 200  # images that are looked for
_VALUES = 20  # of a choice column, shown


@dataclass
class Seen:
    """What the rows of a file hold, as far as they were counted."""

    rows: int = 0
    more: bool = False
    unreadable: int = 0
    values: Counter[tuple[str, str | None]] = field(default_factory=Counter)  # value and meaning -> rows
    voters: set[str] = field(default_factory=set)
    prompts: dict[str, set[str | None]] = field(default_factory=dict)  # with the splits they are in
    pairs: Counter[tuple[str, ...]] = field(default_factory=Counter)  # with their judgements
    choices: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    anonymous: int = 0
    tried: int = 0
    images: list[str] = field(default_factory=list)  # that were not found


def make_profile(
    path: str,
    name: str,
    *,
    images: str | None,
    base: str,
    columns: Sequence[str] = (),
    values: Sequence[str] = (),
    force: bool = False,
) -> None:
    """Print what is understood of the votes at `path` and write `profiles/<name>.yaml`.

    Raises:
        SuasionError: the file cannot be read, a needed column is not known, no value of the choice is understood, no image
            is found, or the profile exists.
    """
    target = _target(name, force)
    located = _absolute(path)
    root = _absolute(images) if images is not None else folder_of(located)
    first = [row for _, row in itertools.islice(rows(located), _FIRST) if not isinstance(row, BadRow)]
    if not first:
        raise SuasionError("no row that can be read", where=path, do="one header line and a row per vote are needed")
    found = list(dict.fromkeys(str(key) for row in first for key in row))
    encoding, meant = guess_columns(found, _told(columns))
    choices = _told(values)
    try:
        settings = TableSource(
            name="table",
            label=name,
            path=_short(located),
            images=_short(root) if images is not None else None,
            encoding=cast(Any, encoding),
            columns=meant,
            choices=cast(Any, choices),
            snapshot="0" * 64,
        )
    except ValidationError:
        raise SuasionError(
            f"--value {', '.join(values)}: a value means one of {', '.join(CHOICES)}",
            where="command line",
            do="write --value VALUE=MEANING",
        ) from None
    seen = _look(located, root, settings)
    _say(path, found, settings, seen)
    _require(seen, settings, root)
    shown = [column for column in (meant.image_a, meant.image_b, meant.images) if column is not None]
    settings = settings.model_copy(update={"snapshot": snapshot_of(located, root, shown)})
    _write(target, base, settings, seen)
    print(f"\nwrote {target}; look it through, then run\n\n    make repro PROFILE={name}")


def renew_snapshots(profile: Path) -> None:
    """Write the snapshots of the data as they are now into `profile`: of table sources and evaluation sets.

    Raises:
        SuasionError: the profile does not parse, or data are not there.
    """
    params = load_params(profile)
    content, yaml = _load(profile)
    for number, source in enumerate(params.ingest.sources):
        if isinstance(source, TableSource):
            path = locate(source.path)
            root = locate(source.images) if source.images is not None else folder_of(path)
            columns = [source.columns.image_a, source.columns.image_b, source.columns.images]
            snapshot = snapshot_of(path, root, [column for column in columns if column is not None])
            content["ingest"]["sources"][number]["snapshot"] = snapshot
            print(f"{source.label}: {snapshot}")
        elif source.name != "world":
            print(f"{source.name}: left as it is; a run on other data says what to set")
    for number, wanted in enumerate(params.ingest.evaluation_sets):
        path = locate(wanted.path)
        snapshot = snapshot_of(path, folder_of(path), wanted.images)
        content["ingest"]["evaluation_sets"][number]["snapshot"] = snapshot
        print(f"{wanted.name}: {snapshot}")
    with profile.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def _look(path: str, root: str, settings: TableSource) -> Seen:
    seen = Seen()
    most = MAX_FAR_ROWS if "://" in path or path.startswith("hub:") else MAX_ROWS
    for where, row in rows(path):
        if seen.rows == most:
            seen.more = True
            break
        seen.rows += 1
        if isinstance(row, BadRow):
            seen.unreadable += 1
            continue
        columns = settings.columns
        if settings.encoding == "choice":
            value = row.get(columns.choice or "")
            meaning = meaning_of(value, settings.choices) or chosen_by_name(row, columns)
            seen.values["(a name)" if chosen_by_name(row, columns) else str(value)[:40], meaning] += 1
        prompt = comparable(text(row.get(columns.prompt)) or "")
        seen.prompts.setdefault(prompt, set()).add(split_of(row.get(columns.split or "")))
        for vote in votes_of(where, row, settings, root):
            _count(vote, prompt, seen)
    return seen


def _count(vote: RawVote | BadRow, prompt: str, seen: Seen) -> None:
    if isinstance(vote, BadRow):
        seen.bad[vote.reason] += 1
        return
    seen.anonymous += vote.annotator_id is None
    if vote.annotator_id is not None:
        seen.voters.add(vote.annotator_id)
    pair = (vote.pair_id,) if vote.pair_id else (prompt, *sorted((vote.image_a.name, vote.image_b.name)))
    seen.pairs[pair] += vote.count
    if vote.choice in CHOICES:
        seen.choices[vote.choice] += vote.count
    for image in (vote.image_a, vote.image_b):
        if seen.tried < _TRIED:
            seen.tried += 1
            try:
                image.read()
            except OSError:
                seen.images.append(image.name)


def _say(path: str, found: Sequence[str], settings: TableSource, seen: Seen) -> None:
    means = {column: key for key, column in settings.columns.model_dump(exclude_none=True).items()}
    width = max(len(column) for column in (*found, "column"))
    least = "over " if seen.more else ""
    voters = f"{len(seen.voters):,} voters" if seen.voters else "no column that says who voted"
    print(f"{path}: {least}{seen.rows:,} rows, {voters}, {len(seen.pairs):,} pairs, {len(seen.prompts):,} prompts")
    print(f"\n{'column':{width}}  read as")
    for column in found:
        print(f"{column:{width}}  {means.get(column, '(not used)')}")
    rows_are = {"choice": "one judgement", "counts": "the votes for each side", "ranking": "an order of several images"}
    print(f"\nencoding {settings.encoding}: a row is {rows_are[settings.encoding]}")
    if seen.values:
        print(f"\nvalues of {settings.columns.choice}")
        for (value, meaning), count in seen.values.most_common(_VALUES):
            print(
                f"  {value or '(empty)':20}  {count:>8,} rows  {meaning or 'NOT UNDERSTOOD: these rows will be dropped'}"
            )
    print(f"\nimages: {seen.tried - len(seen.images)} of the first {seen.tried} are there")
    for reason, count in (*seen.bad.items(), *([("row_unreadable", seen.unreadable)] if seen.unreadable else [])):
        print(f"{count:,} rows will be dropped: {reason}")
    unknown = [value for (value, meaning), _ in seen.values.most_common(_VALUES) if meaning is None and value.strip()]
    if unknown:
        options = " ".join(f"--value '{value}=tie'" for value in unknown[:4])
        print(f"\nif they are votes, say for what: a, b, tie or both_bad; for example {options}")


def _require(seen: Seen, settings: TableSource, root: str) -> None:
    if {"0", "1"} <= {value for value, _ in seen.values} and not {"0", "1"} <= {*settings.choices}:
        raise SuasionError(
            "the values 0 and 1 do not say which image is meant",
            where=f"column {settings.columns.choice}",
            do="say it: --value 0=a --value 1=b, or the other way round",
        )
    if not seen.choices:
        raise SuasionError(
            "no row says which image is better",
            where=f"column {settings.columns.choice or settings.columns.count_a or settings.columns.rank}",
            do="say what its values mean: --value VALUE=a --value OTHER=b, or name another column: --column choice=NAME",
        )
    if seen.tried and len(seen.images) == seen.tried:
        raise SuasionError(
            f"none of the first {seen.tried} images is there, for example {seen.images[0]!r}",
            where=root,
            do="say which folder the paths start from: --images FOLDER; paths must lead below it, and URLs are not fetched",
        )


def _target(name: str, force: bool) -> Path:
    if not re.fullmatch("[a-z0-9][a-z0-9_-]*", name):
        raise SuasionError(f"the name {name!r}", where="--name", do="use small letters, digits, - and _")
    if not PROFILES.is_dir():
        raise SuasionError("no folder profiles here", where=str(Path.cwd()), do="run from the project's folder")
    target = PROFILES / f"{name}.yaml"
    if target.exists() and not force:
        raise SuasionError(f"{target} exists", where=str(target), do="take another --name, or --force to replace it")
    return target


def _told(options: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` of the command line; the last = divides, since values of a file may hold one."""
    for option in options:
        if "=" not in option:
            raise SuasionError(
                f"{option!r} has no =", where="command line", do="write --column KEY=NAME, --value VALUE=a"
            )
    return {key: value for key, _, value in (option.rpartition("=") for option in options)}


def _absolute(path: str) -> str:
    return path if "://" in path or path.startswith("hub:") else str(Path(path).expanduser().absolute())


def _short(path: str) -> str:
    """As a profile names it: below the data folder without that folder."""
    folder = data_folder().absolute()
    return str(Path(path).relative_to(folder)) if "://" not in path and Path(path).is_relative_to(folder) else path


def _load(path: Path) -> tuple[CommentedMap, YAML]:
    yaml = YAML()
    yaml.width = 128
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    return cast(CommentedMap, yaml.load(path.read_text(encoding="utf-8"))), yaml


def _write(target: Path, base: str, settings: TableSource, seen: Seen) -> None:
    origin = PROFILES / f"{base}.yaml"
    load_params(origin)
    content, yaml = _load(origin)
    content.yaml_set_start_comment(f"Votes of {settings.path}; made by `suasion profile`, all else as in {base}.yaml.")
    content["profile"] = settings.label
    source = settings.model_dump(mode="json")
    source["columns"] = settings.columns.model_dump(exclude_none=True)
    ingest, rules = content["ingest"], content["filter"]
    ingest["sources"] = [CommentedMap(source)]
    ingest["evaluation_sets"] = []
    unknown = [f"{value!r} ({count} rows)" for (value, meaning), count in seen.values.items() if meaning is None]
    if unknown:
        ingest["sources"][0].yaml_set_comment_before_after_key(
            "choices", before=f"not understood, so dropped: {', '.join(unknown[:_VALUES])}", indent=6
        )
    own = bool(settings.columns.split) and all(
        len(splits) == 1 and splits <= {*SPLITS} for splits in seen.prompts.values()
    )
    rules["splits"] = "source" if own else _flow({"train": 0.7, "val": 0.1, "test": 0.2})
    rules["copies"] = _flow({settings.label: 8})
    rules["ood_generators"] = []
    each = sorted(seen.pairs.values())
    rules["min_votes"] = 3 if each[len(each) // 2] >= 3 else 1
    total = sum(seen.choices.values())
    ties = (seen.choices["tie"] + seen.choices["both_bad"]) / total
    content["validate"] |= {
        "min_votes": max(1, seen.rows // 2),
        "min_pairs": max(1, len(seen.pairs) // 2),
        "max_null_annotator": 1.0 if seen.anonymous else 0.0,
        "max_tie_rate": round(min(1.0, ties + 0.2), 2),
    }
    content["release"] |= {"name": f"suasion-{settings.label}", "license": "other"}
    aside = target.with_suffix(".tmp")
    with aside.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    load_params(aside)  # what is written parses
    aside.replace(target)


def _flow(values: dict[str, Any]) -> CommentedMap:
    found = CommentedMap(values)
    found.fa.set_flow_style()
    return found
