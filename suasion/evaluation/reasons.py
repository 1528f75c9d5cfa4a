"""What each reason for leaving something out means, in a sentence for the report. The codes are those of the drops tables.

Given up: one place for codes and sentences. Ingest and filter say what they did; only the report explains it.
"""

REASONS = {
    # ingest: judgements
    "row_unreadable": "The row is no record of this source: damaged, or without what its columns should hold.",
    "prompt_empty": "There is no prompt, or nothing but spaces.",
    "choice_unknown": "The choice is a value that neither the usual ones nor the parameters explain.",
    "split_unknown": "The source names a split that is none of train, val, test and ood.",
    "weight_not_positive": "The count or the trust score is not above zero.",
    "no_label": "The source says itself that nobody judged this pair.",
    "ranking_malformed": "Images and ranks do not belong together, so no two of them can be compared.",
    "image_missing": "The file of an image is not there.",
    "image_format": "An image is no JPEG, PNG or WebP.",
    "image_too_large": "An image has more pixels than are allowed.",
    "image_too_long": "An image is far longer on one side than on the other.",
    "image_too_small": "A side of an image has fewer pixels than are asked for.",
    "image_corrupt": "An image does not decode.",
    "pair_conflict": "The name of its pair stands for another prompt or other images elsewhere.",
    "repeated_row": "The same vote was read before, word for word.",
    # filter: votes
    "repeated_vote": "A later vote of the same person on the same pair counts instead.",
    "voter_flagged": "All votes of this person are left out; the table of voters says why.",
    # filter: pairs
    "no_vote_left": "All of its votes were left out.",
    "tie": "People could not decide, so there is no preference to learn.",
    "prompt_too_long": "The prompt has more characters than are allowed.",
    "prompt_too_many_tokens": "Prompt and images together are more tokens than the reasoner is given.",
    "same_image": "Both images are the same file.",
    "near_identical": "The two images can hardly be told apart.",
    "too_few_votes": "Fewer people than asked for decided for one side.",
    "low_margin": "The votes are too even to say which image is preferred.",
    "evaluation_prompt": "The prompt shares a run of words with an evaluation set.",
    "evaluation_image": "An image is one of an evaluation set, or a near copy of one.",
    "leak": "Its prompt or one of its images, or a near copy, is in a split that is held out further.",
    "split_conflict": "It is new, and would join prompts or images that have their places in different splits.",
    "held_out_generator": "It is by a generator that is held out, and hangs together with training or validation.",
    "held_out": "The shares of the splits leave it over, so no stage reads it.",
}

FLAGS = {
    "low_accuracy": "estimated accuracy too low",
    "one_side": "nearly always the same side",
    "too_fast": "faster than one can look",
}

TIES = {
    "drop": "pairs that people could not decide are not trained on.",
    "half": "a tie counts as half a vote for either image.",
    "keep": "pairs that people could not decide are trained on as ties.",
}
