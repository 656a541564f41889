"""One side of a workload in a process of its own: reads a JSON line a command, answers with a JSON line.

The first command is `{"workload": …, "side": …}`; it sets the task up, does it once, and answers with its check. Each
further line asks for one measured round and is answered with `{"seconds": …, "units": …}`.
"""

import gc
import json
import os
import sys
import time
import traceback
import warnings

MIN_SECONDS = 0.3
"""A round repeats the work until this much time has passed, so that short work is measured well."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    warnings.simplefilter("ignore")

    def answer(**fields: object) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    try:
        import torch as th
        from workloads import all_workloads

        th.set_num_threads(1)
        command = json.loads(sys.stdin.readline())
        workload = all_workloads()[command["workload"]]
        task = workload.task(command["side"], tiny=command["tiny"])
        task.run()
        answer(check=task.check())
        clock = time.perf_counter if workload.wall else time.process_time
        for _ in sys.stdin:
            gc.collect()
            units = 0
            start = clock()
            while (seconds := clock() - start) < MIN_SECONDS or not units:
                units += task.run()
            answer(seconds=seconds, units=units)
    except Exception:
        answer(error=traceback.format_exc())


if __name__ == "__main__":
    main()
