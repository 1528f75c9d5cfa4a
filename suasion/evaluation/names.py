"""What the report calls models, splits, measures and references."""

MODELS = {"released": "Released", "sft": "SFT, same compute", "warmstart": "Warm start"}
"""In the order of tables and drawings, so that a model has the same colour in all of them."""

SPLITS = {"test": "Test", "ood": "Out of distribution", "val": "Validation"}

MEASURES = {
    "accuracy": ("accuracy, %", "percent"),
    "contradiction": ("contradiction, %", "percent"),
    "fidelity": ("fidelity, %", "percent"),
    "parsed": ("parses, %", "percent"),
    "flip": ("flips with order, %", "percent"),
    "tie_aware": ("tie-aware accuracy, %", "percent"),
    "brier": ("Brier score", "decimal"),
    "ece": ("calibration error", "decimal"),
    "words": ("words", "plain"),
}
"""Its heading and the form of its numbers (`pages.shown`)."""

REFERENCES = {
    "held_out_rater": "One person, against the others",
    "majority_generator": "Always the generator that wins most",
    "always_a": "Always the first-listed image",
}

LISTENERS = {"listener": "Listener of the reward", "warmstart": "Warm start as listener"}

GROUPS = {
    "source": "Source",
    "generator": "Generator of an image",
    "category": "Category of the prompt",
    "margin": "Margin of the votes",
    "votes": "Number of votes",
}
