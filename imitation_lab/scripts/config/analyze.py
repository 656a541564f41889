"""Named configurations of `analyze`."""

from imitation_lab.scripts._values import Named

NAMED = {
    "summary": Named("one row for each algorithm and environment", {"table_verbosity": 0}),
    "fast": Named("nothing on the screen, for tests", {"print_table": False}),
}
