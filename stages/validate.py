"""Stages `validate-votes` and `validate-pairs`: Great Expectations between ingest and filter, and between filter and shard.

`python -m stages.validate votes|pairs`. The only module that imports Great Expectations: it takes seconds to load. A failed
expectation stops the pipeline with what was expected, what was found, and some offending ids. Given up: its stores,
checkpoints and scheduled runs; a result and a page are the stage's outputs.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import polars as pl

from suasion.errors import SuasionError
from suasion.params import Validate
from suasion.records import CHOICES, IMAGE, LABELS, PAIR, SPLITS, VOTE, read
from suasion.stage import publish, stage

TABLES = {
    "votes": (Path("data/ingest/votes.parquet"), VOTE, "vote_id"),
    "pairs": (Path("data/filter/pairs.parquet"), PAIR, "pair_id"),
}
OFFENDERS = 5  # ids named in a message
_RANDOM_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"
)


def main() -> None:
    table = sys.argv[1] if len(sys.argv) == 2 else ""
    if table not in TABLES:
        raise SystemExit(f"usage: python -m stages.validate {'|'.join(TABLES)}")
    with stage(f"validate-{table}") as params, publish(Path(f"data/validate-{table}")) as out:
        path, schema, key = TABLES[table]
        frame = read(path, schema)
        images = set(read(Path("data/ingest/images/index.parquet"), IMAGE)["sha256"])
        checks = _votes_checks(params.validate_) if table == "votes" else _pairs_checks(params.validate_)
        result, page = _validate(table, _with_facts(frame, images), checks, key)
        out.mkdir()
        (out / "docs").mkdir()
        (out / "docs" / "index.html").write_text(page)
        (out / "result.json").write_text(json.dumps(result, indent=2, sort_keys=True, default=str) + "\n")
        failed = [check for check in result["results"] if not check["success"]]
        if failed:
            raise _explain(failed, path)
        print(f"[validate-{table}] {len(checks)} expectations hold on {frame.height} {table}")


def _with_facts(frame: pl.DataFrame, images: set[str]) -> pl.DataFrame:
    """The table with the columns that expectations about several tables or rows need."""
    known = pl.col("image_a").is_in(list(images)) & pl.col("image_b").is_in(list(images))
    columns = [known.alias("images_known")]
    if "split" in frame.columns:
        # Out of distribution may share prompts with test: neither is seen in training.
        held = pl.when(pl.col("split") == "ood").then(pl.lit("test")).otherwise("split")
        shown = pl.concat([frame.select(held.alias("held"), image=f"image_{side}") for side in "ab"])
        torn = shown.group_by("image").agg(pl.col("held").n_unique()).filter(pl.col("held") > 1)["image"].implode()
        columns.append(held.n_unique().over("prompt_id").alias("splits_of_prompt"))
        columns.append((pl.col("image_a").is_in(torn) | pl.col("image_b").is_in(torn)).alias("image_in_two_splits"))
    else:
        decided = pl.col("choice").is_in(["a", "b"])
        for_a = (pl.col("count") * (pl.col("choice") == "a")).sum() / (pl.col("count") * decided).sum()
        columns.append((pl.col("choice") == "tie").mean().alias("tie_rate_of_all"))
        columns.append(pl.col("annotator_id").is_null().mean().alias("null_annotators_of_all"))
        columns.append(for_a.fill_nan(0.5).alias("share_of_a_of_all"))
    return frame.with_columns(columns)


def _votes_checks(settings: Validate) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("ExpectTableRowCountToBeBetween", {"min_value": settings.min_votes}),
        ("ExpectColumnValuesToBeUnique", {"column": "vote_id"}),
        *[("ExpectColumnValuesToNotBeNull", {"column": name}) for name in ("pair_id", "prompt", "image_a", "image_b")],
        ("ExpectColumnValuesToBeInSet", {"column": "choice", "value_set": list(CHOICES)}),
        ("ExpectColumnValuesToBeBetween", {"column": "count", "min_value": 1}),
        ("ExpectColumnValuesToBeBetween", {"column": "weight", "min_value": 0, "strict_min": True}),
        ("ExpectColumnValuesToBeInSet", {"column": "images_known", "value_set": [True]}),
        ("ExpectColumnValuesToBeBetween", {"column": "tie_rate_of_all", "max_value": settings.max_tie_rate}),
        (
            "ExpectColumnValuesToBeBetween",
            {"column": "null_annotators_of_all", "max_value": settings.max_null_annotator},
        ),
        (
            "ExpectColumnValuesToBeBetween",
            {
                "column": "share_of_a_of_all",
                "min_value": round(1 - settings.max_side_share, 9),
                "max_value": settings.max_side_share,
            },
        ),
    ]


def _pairs_checks(settings: Validate) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("ExpectTableRowCountToBeBetween", {"min_value": settings.min_pairs}),
        ("ExpectColumnValuesToBeUnique", {"column": "pair_id"}),
        *[("ExpectColumnValuesToNotBeNull", {"column": name}) for name in ("prompt_id", "prompt", "label", "split")],
        ("ExpectColumnValuesToBeInSet", {"column": "label", "value_set": list(LABELS)}),
        ("ExpectColumnValuesToBeInSet", {"column": "split", "value_set": list(SPLITS)}),
        *[
            ("ExpectColumnValuesToBeBetween", {"column": name, "min_value": 0, "max_value": 1})
            for name in ("p_a", "agreement", "tie_rate")
        ],
        ("ExpectColumnValuesToBeInSet", {"column": "images_known", "value_set": [True]}),
        ("ExpectColumnValuesToBeBetween", {"column": "splits_of_prompt", "min_value": 1, "max_value": 1}),
        ("ExpectColumnValuesToBeInSet", {"column": "image_in_two_splits", "value_set": [False]}),
    ]


def _validate(
    table: str, frame: pl.DataFrame, checks: list[tuple[str, dict[str, Any]]], key: str
) -> tuple[dict[str, Any], str]:
    """The result as plain values and the page of Great Expectations' data docs, both without times or run ids."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    import great_expectations as gx
    import great_expectations.expectations as expectations
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas(table).add_dataframe_asset(table)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame.to_pandas()})
    suite = gx.ExpectationSuite(
        name=table, expectations=[getattr(expectations, name)(**arguments) for name, arguments in checks]
    )
    wanted = {
        "result_format": "SUMMARY",
        "unexpected_index_column_names": [key],
        "partial_unexpected_count": OFFENDERS,
    }
    result = batch.validate(suite, result_format=wanted)
    result.meta.pop("batch_markers", None)
    page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result))
    return result.to_json_dict(), _offline(page)


def _offline(page: str) -> str:
    """The page with numbered instead of random ids, and without anything that it would fetch from elsewhere."""
    remote = r"""(?:src|href)=["']?https?://"""
    numbers = {found: f"{at:032x}" for at, found in enumerate(dict.fromkeys(_RANDOM_ID.findall(page)))}
    page = _RANDOM_ID.sub(lambda found: numbers[found[0]], page)
    page = re.sub(rf"<script\b[^>]*{remote}[^>]*>\s*</script>", "", page)
    return re.sub(rf"<(?:link|img)\b[^>]*{remote}[^>]*>", "", page)


def _explain(failed: list[dict[str, Any]], path: Path) -> SuasionError:
    first = failed[0]
    config, found = first["expectation_config"], first["result"]
    wanted = ", ".join(f"{name} {value}" for name, value in config["kwargs"].items() if name != "batch_id")
    observed = found.get("observed_value", found.get("partial_unexpected_list"))
    ids = [str(next(reversed(row.values()))) for row in found.get("partial_unexpected_index_list") or []]
    more = f"; {len(failed) - 1} more expectations failed" if len(failed) > 1 else ""
    return SuasionError(
        f"{config['type']} ({wanted}) does not hold: found {observed}"
        + (f" in {found['unexpected_count']} rows, among them {', '.join(ids[:OFFENDERS])}" if ids else "")
        + more,
        where=str(path),
        do="mend the source, or change the threshold in params.yaml: validate",
    )


if __name__ == "__main__":
    main()
