"""What the workloads show, over several seeds: robustness, sentence similarity, entity linking.

    python benchmarks/workloads.py

Below each table stand the claims that are made of it, with their numbers.
"""

from everything import WORKLOADS, run

if __name__ == "__main__":
    run(WORKLOADS)
