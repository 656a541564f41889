"""Wrong answers: for each part three replacements in the right one."""

WRONG = {
    "loss": [
        ("- ent_weight * entropy", "+ ent_weight * entropy"),
        ("logits.log_softmax(dim=1)", "logits.softmax(dim=1).log()"),  # not finite
        ("dim=1", "dim=0"),
    ],
    "epoch": [
        ("optimizer.zero_grad()", "pass"),
        ("th.randperm(len(actions), generator=generator)", "th.arange(len(actions))"),
        (".split(batch_size)", "[: len(actions) // batch_size * batch_size].split(batch_size)"),  # drops the rest
    ],
    "drift": [
        ("expert.std(axis=(0, 1))", "expert.std(axis=(0, 1)) ** 2"),
        (".mean(axis=0)", ".mean(axis=1)"),
        ("expert.std(axis=(0, 1))", "expert.std()"),
    ],
    "mistakes": [
        ("(1 - recovery) * lost", "lost"),
        ("np.cumsum(chances)", "np.array(chances)"),
        ("error * (1 - lost)", "error"),
    ],
}
