"""Wrong answers: for each part three replacements in the right one."""

WRONG = {
    "differences": [
        ("discount**steps", "th.full_like(steps, discount)"),  # the same weight for each step
        ("discount**steps", "discount ** (steps + 1)"),
        ("rewards1 - rewards2", "rewards2 - rewards1"),
    ],
    "loss": [
        (
            "th.nn.functional.softplus(differences) - preferences * differences",
            "-preferences * th.sigmoid(differences).log() - (1 - preferences) * (1 - th.sigmoid(differences)).log()",
        ),  # not finite at large differences
        (".mean()", ".sum()"),
        ("preferences * differences", "(1 - preferences) * differences"),
    ],
    "selection": [
        ("descending=True", "descending=False"),
        ("differences.var(dim=0)", "-differences.mean(dim=0).abs()"),  # undecided on the average, not in disagreement
        ("differences.var(dim=0)", "differences.abs().mean(dim=0)"),
    ],
    "learning": [
        ("weights -= ", "weights += "),
        ("range(steps)", "range(steps + 1)"),
        ("th.zeros(", "th.ones("),
    ],
}
