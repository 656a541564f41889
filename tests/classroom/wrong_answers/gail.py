"""Wrong answers: for each part three replacements in the right one."""

WRONG = {
    "loss": [
        ("[expert_logits, -learner_logits]", "[-expert_logits, learner_logits]"),
        ("-nn.functional.logsigmoid(log_right).mean()", "-th.sigmoid(log_right).log().mean()"),  # not finite
        (
            "-nn.functional.logsigmoid(log_right).mean()",  # the mean of two means
            "-sum(nn.functional.logsigmoid(x).mean() for x in (expert_logits, -learner_logits)) / 2",
        ),
    ],
    "rewards": [
        ("-nn.functional.logsigmoid(-logits)", "nn.functional.logsigmoid(-logits)"),
        ("-nn.functional.logsigmoid(-logits)", "-(1 - th.sigmoid(logits)).log()"),  # not finite
        ('raise ValueError(f"unknown form {form!r}")', "return logits"),
    ],
    "update": [
        ("optimizer.zero_grad()", "pass"),
        ("network(expert), network(learner)", "network(learner), network(expert)"),
        ("return loss.item()", "return reference.discriminator_loss(network(expert), network(learner)).item()"),
    ],
    "penalty": [
        ("create_graph=True", "create_graph=False"),
        ("gradient.norm(dim=1)", "gradient.norm()"),  # of the whole batch
        ("alpha * expert + (1 - alpha) * learner", "alpha * learner + (1 - alpha) * expert"),
    ],
}
