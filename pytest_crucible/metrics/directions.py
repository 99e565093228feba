"""Which direction of a number is better, told by its whole name.

Only names that nobody disputes. Everything else has to be declared: a guess from a part of a name
(``token`` in ``token_f1``) was wrong more often than right.
"""

from __future__ import annotations

import re

LOWER, HIGHER = "lower", "higher"
"""Which values of a metric are better."""

# fmt: off
_BETTER = dict.fromkeys((
    "score", "accuracy", "balanced_accuracy", "top1_accuracy", "top5_accuracy", "precision",
    "recall", "specificity", "sensitivity", "f1", "f1_score", "auc", "roc_auc", "pr_auc", "auroc",
    "auprc", "average_precision", "mcc", "exact_match", "mrr", "ndcg", "bleu", "rouge", "rouge1",
    "rouge2", "rougel", "rouge_1", "rouge_2", "rouge_l", "meteor", "chrf", "iou", "miou", "dice",
    "psnr", "ssim", "r2", "r2_score", "throughput",
), HIGHER) | dict.fromkeys((
    "loss", "log_loss", "logloss", "cross_entropy", "nll", "error_rate", "failure_rate",
    "hallucination_rate", "wer", "cer", "ter", "perplexity", "ppl", "mae", "mse", "rmse", "mape",
    "smape", "brier", "brier_score", "fid",
), LOWER)
# fmt: on
_PHASE = re.compile(r"(train|training|val|valid|validation|dev|test|eval)[_/]")


def better_by_name(name: str) -> str | None:
    """Return ``lower`` or ``higher`` if the whole name is a well-known one; None if it is not.

    Case does not matter, and a phase may come first: ``val_loss``, ``train/accuracy``.
    """
    whole = name.lower().replace("-", "_")
    return _BETTER.get(_PHASE.sub("", whole, count=1) if _PHASE.match(whole) else whole)
