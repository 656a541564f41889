"""Wrong answers: for each part three replacements in the right one."""

WRONG = {
    "backup": [
        ("top = q.max(axis=1, keepdims=True)", "top = 0.0"),  # not finite at large values
        ("return values[:, 0]", "return top[:, 0]"),  # the hard maximum
        ("axis=1", "axis=0"),
    ],
    "iteration": [
        ("policies[::-1]", "policies"),
        ("discount * transitions", "transitions"),
        ("values, policy = reference.soft_backup(q)", "values, policy = q.max(axis=1), reference.soft_backup(q)[1]"),
    ],
    "occupancy": [
        ("sat->t", "tas->t"),  # backwards
        ("np.stack(chances)", "np.stack(chances[:-1])"),
        ("for policy in policies:", "for policy in policies[::-1]:"),
    ],
    "discriminator": [
        ("(1 - dones) * ", ""),
        ("- log_probs", "+ log_probs"),
        ("rewards + shaping", "rewards - shaping"),
    ],
}
