"""How far voters agree beyond chance: Krippendorff's alpha for nominal answers (Krippendorff, *Content Analysis*, 2018).

Which image of a pair is called A is arbitrary, so the answers A and B are taken as equally frequent by chance: the value is
that of the votes together with their mirror image. Given up: distances between answers other than same and different.
"""

import numpy as np


def krippendorff_alpha(counts: np.ndarray) -> float | None:
    """Alpha of a table of counts (pairs, answers) whose first two columns are A and B; null where it is not defined.

    1 is agreement, 0 what chance gives, below 0 systematic disagreement. Pairs with fewer than two votes say nothing. Not
    defined without two votes on any pair, or where everybody always gives one and the same answer that is no side.
    """
    counts = np.asarray(counts, dtype=np.float64)
    counts = counts[counts.sum(axis=1) >= 2]
    if len(counts) == 0:
        return None
    votes = counts.sum(axis=1, keepdims=True)
    total = votes.sum()
    same = (counts * (counts - 1) / (votes - 1)).sum()
    observed = 1 - same / total
    frequency = counts.sum(axis=0)
    frequency[:2] = frequency[:2].mean()
    # The mirrored votes double every frequency and the total: pairs of answers drawn from both together.
    expected = 1 - (2 * frequency * (2 * frequency - 1)).sum() / (2 * total * (2 * total - 1))
    return None if expected == 0 else float(1 - observed / expected)
