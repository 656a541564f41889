"""Wrong answers: for each part three replacements in the right one."""

WRONG = {
    "network": [
        (".squeeze(1)", ""),
        (".squeeze(1)", ".squeeze()"),  # a batch of one loses its axis
        ("th.tanh(self.hidden_layer(inputs))", "self.hidden_layer(inputs)"),
    ],
    "statistics": [
        ("correction=0", "correction=1"),
        (" + share * (1 - share) * difference**2", ""),
        ("share = len(batch) / total", "share = 0.5"),
    ],
    "shaping": [
        ("- potential[:, None]", "+ potential[:, None]"),
        ("discount * transitions", "transitions"),
        ("- potential[:, None]", "- potential"),  # of the wrong axis
    ],
    "values": [
        ("q.max(axis=1)", "q.mean(axis=1)"),
        ("range(sweeps)", "range(sweeps + 1)"),
        ("discount * transitions", "transitions"),
    ],
}
