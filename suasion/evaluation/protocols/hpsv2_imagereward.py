"""HPSv2 on ImageReward's test file (arXiv 2306.09341): each prompt's share of right strict pairs, then the mean over prompts.

Source: `calc_ImageReward` in `hpsv2/src/training/train.py` and `evaluate_IR` in `hpsv2/evaluation.py` of tgxs002/HPSv2. The
rule of a pair is ImageReward's, but a prompt with three pairs weighs as much as one with thirty-six. A prompt whose labels are
all tied divides by zero there; here it is left out.
"""

import polars as pl

from suasion.evaluation.protocols._table import Score, decided, mean_over_prompts


def hpsv2_imagereward(judged: pl.DataFrame, tuning: pl.DataFrame) -> Score:
    """Mean over prompts of the share of strict pairs that are right; `n` counts prompts that have one."""
    return mean_over_prompts(decided(judged), "right")
