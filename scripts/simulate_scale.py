"""Simulate the prediction of a collection of videos by many workers: makespan, utilization, and what failures cost.

    python scripts/simulate_scale.py                              the table of docs/scaling.md
    python scripts/simulate_scale.py --frame-ms 466 --workers 64  another machine

Three ways to share the same videos are simulated event by event, with failures that strike each worker at random:

static: each worker gets a share at the start, by file size; a worker that dies leaves its share to a second run.
one by one: workers take the largest file that is left as they come free; what a dead worker had begun is repeated.
split: the same, with videos in parts of at most `--split-minutes`; the last part of a video is followed by joining it.
"""

import argparse
import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Video:
    """Video of a collection: its length in hours, and the size of its file, of which only the ratios count."""

    hours: float
    size: float


@dataclass(frozen=True)
class Costs:
    """Costs in hours.

    Attributes:
        per_hour: of an hour of video.
        join: of joining an hour of video.
        failures: failures per worker and hour.
        restart: from a failure to the next task of a worker.
    """

    per_hour: float
    join: float
    failures: float
    restart: float


@dataclass
class Task:
    """Work of one worker at a time: a whole video, a part, or the joining of parts.

    Attributes:
        size: rank in the queue; larger ones are first.
        hours: cost.
        video: number of its video.
        joins: whether the task joins the parts of its video.
    """

    size: float
    hours: float
    video: int
    joins: bool = False


@dataclass(frozen=True)
class Outcome:
    """Hours from the start to the last result, share of the workers' time spent on results, and hours of work lost."""

    makespan: float
    utilization: float
    lost: float


def collection(
    count: int, mean_hours: float, sigma: float, bit_rate_sigma: float, draw: random.Random, longest: float = math.inf
) -> list[Video]:
    """Draw log-normal lengths, whose longest few percent are a large part of the whole, and bit rates that differ."""
    median = mean_hours / math.exp(sigma**2 / 2)
    lengths = [min(longest, median * draw.lognormvariate(0, sigma)) for _ in range(count)]
    return [Video(length, length * draw.lognormvariate(0, bit_rate_sigma)) for length in lengths]


def static_shares(videos: Sequence[Video], workers: int, costs: Costs, draw: random.Random) -> Outcome:
    """Simulate shares by file size, repeated with what is left until nothing is."""
    left, now, lost = list(videos), 0.0, 0.0
    while left:
        shares: list[list[Video]] = [[] for _ in range(workers)]
        loads = [(0.0, worker) for worker in range(workers)]
        for video in sorted(left, key=lambda one: -one.size):
            load, worker = loads[0]
            heapq.heapreplace(loads, (load + video.size, worker))
            shares[worker].append(video)
        left, end = [], now
        for share in shares:
            at, dies = now, now + _failure(costs, draw)
            for number, video in enumerate(share):
                if at + video.hours * costs.per_hour > dies:
                    left += share[number:]
                    lost += dies - at
                    at = dies
                    break
                at += video.hours * costs.per_hour
            end = max(end, at)
        now = end + (costs.restart if left else 0)
    return _outcome(videos, workers, costs, now, lost)


def queued(videos: Sequence[Video], workers: int, costs: Costs, draw: random.Random, split_hours: float | None = None) -> Outcome:
    """Simulate a queue, largest first, of whole videos or of parts of at most ``split_hours``."""
    parts = [1 if split_hours is None else max(1, -(-video.hours // split_hours)) for video in videos]
    missing = [int(count) for count in parts]
    tasks = [
        Task(video.size / parts[number], video.hours * costs.per_hour / parts[number], number)
        for number, video in enumerate(videos)
        for _ in range(missing[number])
    ]
    waiting = [(-task.size, order, task) for order, task in enumerate(tasks)]
    heapq.heapify(waiting)
    free = list(range(workers))
    dies = [_failure(costs, draw) for _ in range(workers)]
    # (time, order, worker, task, whether the worker fails then); no task: the worker is back.
    events: list[tuple[float, int, int, Task | None, bool]] = []
    order, now, end, lost = len(waiting), 0.0, 0.0, 0.0
    while waiting or events:
        while waiting and free:
            task, worker = heapq.heappop(waiting)[2], free.pop()
            order += 1
            fails = now + task.hours > dies[worker]
            lost += max(0.0, dies[worker] - now) if fails else 0.0
            heapq.heappush(events, (max(now, dies[worker]) if fails else now + task.hours, order, worker, task, fails))
        now, _, worker, done, fails = heapq.heappop(events)
        order += 1
        if fails:
            assert done is not None
            heapq.heappush(waiting, (-done.size, order, done))
            dies[worker] = now + costs.restart + _failure(costs, draw)
            heapq.heappush(events, (now + costs.restart, order, worker, None, False))
            continue
        free.append(worker)
        if done is None:
            continue
        end = now
        missing[done.video] -= not done.joins
        if not missing[done.video] and not done.joins and parts[done.video] > 1:
            join = Task(math.inf, videos[done.video].hours * costs.join, done.video, True)
            heapq.heappush(waiting, (-join.size, order, join))
    return _outcome(videos, workers, costs, end, lost)


def _failure(costs: Costs, draw: random.Random) -> float:
    return draw.expovariate(costs.failures) if costs.failures else math.inf


def _outcome(videos: Sequence[Video], workers: int, costs: Costs, makespan: float, lost: float) -> Outcome:
    useful = sum(video.hours for video in videos) * costs.per_hour
    return Outcome(makespan, useful / (workers * makespan), lost)


def main() -> None:
    """Print a table of both kinds of failure rates, for each number of workers and each way to share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 1000, 10000], help="numbers of workers")
    parser.add_argument("--videos", type=int, default=20, help="videos of each worker")
    parser.add_argument("--mean-hours", type=float, default=0.5, help="mean length of a video")
    parser.add_argument("--max-hours", type=float, default=24, help="longest video")
    parser.add_argument("--sigma", type=float, default=1.5, help="spread of the lengths, of the logarithm")
    parser.add_argument("--bit-rate-sigma", type=float, default=0.4, help="spread of the bit rates, of the logarithm")
    parser.add_argument("--fps", type=float, default=15, help="frames per second of the videos")
    parser.add_argument("--frame-ms", type=float, default=13.95, help="milliseconds of a frame (docs/performance.md: R50, H100)")
    parser.add_argument("--join-ms", type=float, default=5, help="milliseconds of a frame in joining parts")
    parser.add_argument("--split-minutes", type=float, default=30, help="longest part")
    parser.add_argument("--failures", type=float, default=0.02, help="failures of a worker in a day")
    parser.add_argument("--restart-minutes", type=float, default=5, help="from a failure to the next task")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    hour = 3600 * given.fps / 3.6e6  # hours of work for an hour of video, at one millisecond a frame
    print("| workers | videos | way | makespan | of the ideal | busy | with failures | work lost |")
    print("|---|---|---|---|---|---|---|---|")
    for workers in given.workers:
        draw = random.Random(given.seed)
        videos = collection(workers * given.videos, given.mean_hours, given.sigma, given.bit_rate_sigma, draw, given.max_hours)
        ideal = sum(video.hours for video in videos) * hour * given.frame_ms / workers
        for way in ("static", "one by one", "split"):
            found = []
            for failures in (0.0, given.failures / 24):
                costs = Costs(hour * given.frame_ms, hour * given.join_ms, failures, given.restart_minutes / 60)
                chance = random.Random(given.seed + 1)
                found.append(
                    static_shares(videos, workers, costs, chance)
                    if way == "static"
                    else queued(videos, workers, costs, chance, given.split_minutes / 60 if way == "split" else None)
                )
            quiet, failing = found
            print(
                f"| {workers:,} | {len(videos):,} | {way} | {quiet.makespan:.2f} h | {quiet.makespan / ideal:.2f} | "
                f"{quiet.utilization:.0%} | {failing.makespan:.2f} h | {failing.lost:.1f} h |"
            )


if __name__ == "__main__":
    main()
