"""What is said to the models, and what counts as an answer. One place, so that reward, listener and judge agree.

The completion's grammar (Eq. 3 of arXiv 2506.22832, `r_format`): `<think> ... </think><answer> 1|2 </answer>`.
Given up: substring search for an answer. What does not parse has no answer.
"""

import re
from typing import Any

QUESTION = "Prompt: {prompt}\nWhich image do people prefer?"
LISTENER_QUESTION = "Prompt: {prompt}\nExplanation: {explanation}\nWhich image do people prefer?"
ANSWER_PREFIX = "<answer>"
"""What the listener's reply begins with; its two choice tokens come next."""

END_OF_TURN = "<|im_end|>"

_COMPLETION = re.compile(
    r"\s*<think>(?P<explanation>(?:(?!</?(?:think|answer)>).)*)</think>\s*<answer>\s*(?P<answer>[12])\s*</answer>\s*",
    re.DOTALL,
)
_MARKER = re.compile(
    r"<\|.*?\|>|</?\s*(?:think|answer)\s*>?"
    r"|\b(?:final\s+)?(?:answer|verdict|preferred(?:\s+(?:image|one))?)\b(?:\s*(?:is|:|=))*\s*(?:image\s*)?[12]?\b",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"\b((?:image|picture|photo)\s+)([12])\b", re.IGNORECASE)


def parse_completion(text: str) -> tuple[str, int] | None:
    """The explanation and the answer (1 or 2) of a completion, or None where it is not exactly of the grammar."""
    found = _COMPLETION.fullmatch(text)
    return (found["explanation"].strip(), int(found["answer"])) if found else None


def format_completion(explanation: str, answer: int) -> str:
    """The completion that `parse_completion` takes apart again."""
    return f"<think> {explanation} </think><answer> {answer} </answer>"


def sanitise(text: str) -> str:
    """`text` without special tokens, tags and verdicts: all that the listener may see of an explanation."""
    previous = None
    while previous != text:  # what is left when one marker is gone may be a marker
        previous, text = text, _MARKER.sub(" ", text)
    return " ".join(text.split())


def swap_references(text: str) -> str:
    """`text` with "image 1" and "image 2" exchanged: an explanation, told for the other order of presentation."""
    return _REFERENCE.sub(lambda found: f"{found[1]}{3 - int(found[2])}", text)


def reasoner_messages(prompt: str) -> list[dict[str, Any]]:
    """The chat that asks for a completion; two images go with it, in the order shown."""
    return _messages(QUESTION.format(prompt=prompt_text(prompt)))


def listener_messages(prompt: str, explanation: str | None) -> list[dict[str, Any]]:
    """The chat that asks the listener; `explanation` is sanitised here, not trusted.

    An explanation without a word in it is none: a lone ":" must not be worth anything.
    """
    said = sanitise(explanation or "")
    if not any(letter.isalpha() for letter in said):
        return reasoner_messages(prompt)
    return _messages(LISTENER_QUESTION.format(prompt=prompt_text(prompt), explanation=said))


def prompt_text(prompt: str) -> str:
    """`prompt` with special tokens taken out: text from a votes file never becomes a control token or an image."""
    return re.sub(r"<\|.*?\|>", " ", prompt).strip()


def _messages(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": text}]}]
