"""Whether to ship the released model: a headline, a sentence, and the questions that they follow from.

A difference counts where its whole interval is on one side of nothing. Given up: weighing the questions against each other;
whoever ships for one virtue reads the numbers.
"""

from typing import Any, NamedTuple

from suasion.evaluation.pages import chance, points, shown, span

Metrics = dict[str, Any]
Estimate = dict[str, Any]


class Check(NamedTuple):
    """A question, the word that answers it (`word`), how good that is (better, worse or unsure), and the numbers said."""

    question: str
    tone: str
    word: str
    said: str


class Verdict(NamedTuple):
    """What to do in a few words, why in a sentence, and how good that is (better, worse or unsure)."""

    tone: str
    headline: str
    sentence: str


def verdict(metrics: Metrics, checks: list[Check]) -> Verdict:
    """Ship where test pairs show the model better than before training and than chance, and no check says worse."""
    difference = metrics["paired"]["released_vs_warmstart"]["test"]["accuracy"]
    accuracy = metrics["released"]["test"]["accuracy"]
    if difference["value"] is None:
        return Verdict(
            "unsure", "Not shown", "There are no test pairs, so nothing can be said about the released model."
        )
    former = shown(metrics["warmstart"]["test"]["accuracy"]["value"])
    right = f"It is right on {shown(accuracy['value'])}% of the test pairs"
    change = f"Before it was trained on votes it was right on {former}%: a difference of {points(difference)}."
    if difference["high"] < 0:
        return Verdict("worse", "Do not ship it", f"{right}, and got worse. {change}")
    if accuracy["high"] <= 0.5:
        return Verdict("worse", "Do not ship it", f"{right}, which is no better than chance. {change}")
    if difference["low"] <= 0:
        return Verdict("unsure", "Do not ship it yet", f"{right}, and is not shown to be better than it was. {change}")
    if accuracy["low"] <= 0.5:
        return Verdict(
            "unsure", "Do not ship it yet", f"{right}, which is not shown to be better than chance. {change}"
        )
    if any(check.tone == "worse" for check in checks):
        return Verdict(
            "unsure", "Better, but look first", f"{right}. {change} But a question below is answered with “worse”."
        )
    return Verdict("better", "Ship it", f"{right}. {change}")


def make_checks(metrics: Metrics) -> list[Check]:
    """What someone who ships the model wants to know, as far as this run can say."""
    paired = metrics["paired"]
    before, sft = paired["released_vs_warmstart"], paired.get("released_vs_sft", {"test": {}})
    found = [
        _difference(
            "Is it better than before it was trained on votes?",
            before["test"].get("accuracy"),
            "accuracy",
            sides=before["test"].get("mcnemar"),
        ),
        _chance(metrics["released"]["test"]["accuracy"]),
        _difference(
            "Is it better than plain fine-tuning (SFT) on the same votes with the same compute?",
            sft["test"].get("accuracy"),
            "accuracy",
            sides=sft["test"].get("mcnemar"),
        ),
        _difference(
            "Does the gain last out of distribution, on pairs of a kind that no training pair shows?",
            before["ood"].get("accuracy"),
            "accuracy",
        ),
        _difference(
            "Do its explanations support its answers better than before?",
            before["test"].get("contradiction"),
            "contradiction",
            less=True,
        ),
        _difference(
            "Are its explanations true of the images more often than before?",
            before["test"].get("fidelity"),
            "fidelity",
        ),
    ]
    return [check for check in found if check]


def _difference(
    question: str, estimate: Estimate | None, name: str, *, sides: Estimate | None = None, less: bool = False
) -> Check | None:
    """Of a paired difference; `less` is better for some measures. No check where it was not measured.

    `sides` says how many pairs changed sides, and how likely that is by chance.
    """
    if not estimate or estimate["value"] is None:
        return None
    said = f"{points(estimate, name)}, on {estimate['n']} pairs"
    if sides:
        said += f"; {sides['better']} pairs got better and {sides['worse']} worse (McNemar's p {chance(sides['p'])})"
    said += "."
    low, high = (-estimate["high"], -estimate["low"]) if less else (estimate["low"], estimate["high"])
    if low > 0:
        return Check(question, "better", "Yes", said)
    if high < 0:
        return Check(question, "worse", "No, worse", said)
    return Check(question, "unsure", "Can't tell", said)


def _chance(accuracy: Estimate) -> Check | None:
    if accuracy["value"] is None:
        return None
    said = (
        f"{shown(accuracy['value'])}% right (95% interval {span(accuracy)}%), on {accuracy['n']} pairs; chance is 50%."
    )
    question = "Is it better than chance?"
    if accuracy["low"] > 0.5:
        return Check(question, "better", "Yes", said)
    if accuracy["high"] <= 0.5:
        return Check(question, "worse", "No", said)
    return Check(question, "unsure", "Can't tell", said)
