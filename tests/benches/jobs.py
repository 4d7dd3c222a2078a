"""prelim's queue beside BullMQ on the same Redis: what a job costs, taking turns.

usage: python tests/benches/jobs.py [--prelim FILE] [--studies N] [--rounds N] [--at-once N] [--workers N,…] [--json]

Starts a redis-server of its own in a temporary folder, with a log that is synced every second, and installs BullMQ with npm
below target/. Jobs take no time and carry about 400 bytes each way; a study is four jobs and, in `prelim` and in BullMQ's
flows, one more that reads what the four answered. With --workers, `prelim bench queue` also drives that many simulated
workers, once, whose jobs take their time. Needs redis-server, node and npm.
"""
import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEER = os.path.join(ROOT, "target/benches/queue")
PACKAGES = ("bullmq@6.7.0", "ioredis@6.0.0")
OURS, FLOWS = "prelim", "BullMQ, flows"
PEERS = {FLOWS: "flows", "BullMQ, jobs without fan-in": "jobs", "BullMQ, the same, added in bulk": "bulk"}
COLUMNS = ("jobs_per_second", "redis", "coordinators", "client", "all")
# The bars: µs of processor time a job, read jobs a second with their part of the merge, share of time.
ALL_US, CYCLES, IDLE = 200, 3_000, 0.02
GUARANTEES = """\
`prelim`: each lease, outcome and draft goes over gRPC to one of two coordinators; a token fences off workers that lost
their lease; every call may be repeated; a study's outcomes, draft and cost are stored; jobs go by urgency, and by tenants'
shares. BullMQ: workers speak to Redis themselves, hold a lock by a token of their own, and take the next job along with each
commit; finished jobs and what they answered are removed; no coordinators, tenants, drafts or repeated calls.
Drafts lie in memory: a disk would add its own. Redis has no rewrites of its log while it is measured."""


class Redis:
    """A server of its own, which ends with the block."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                time.sleep(0.1)
        raise SystemExit("redis-server did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


def install():
    stamp = os.path.join(PEER, "packages.txt")
    wanted = " ".join(PACKAGES)
    if os.path.exists(stamp) and open(stamp).read() == wanted:
        return
    os.makedirs(PEER, exist_ok=True)
    subprocess.run(["npm", "install", "--prefix", PEER, "--silent", "--no-fund", "--no-audit", *PACKAGES], check=True)
    with open(stamp, "w") as file:
        file.write(wanted)


def answer(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def ours(a, redis, workers="0", studies=None):
    command = [a.prelim, "bench", "queue", "--redis", f"redis://127.0.0.1:{redis.port}", "--json", "--workers", workers]
    command += ["--studies", str(studies or a.studies), "--busy-workers", str(a.at_once)]
    run = answer(command)
    measured = run["throughput"]
    cost = measured["cpu_us_per_job"]
    return run | {
        "jobs_per_second": measured["jobs"] / measured["seconds"], "cycles_per_second": measured["cycles_per_second"],
        "redis": cost["redis"], "coordinators": cost["coordinators"], "client": cost["workers_and_enqueuer"], "all": cost["all"]}


def peer(a, redis, kind):
    run = answer(["node", os.path.join(HERE, "bullmq.mjs"), str(redis.port), kind, str(a.studies), str(a.at_once), PEER])
    return run | run.pop("cpu_us_per_job") | {"coordinators": 0}


def verdicts(runs, fleets):
    """What is asked of the queue, what was measured, and whether that is enough."""
    median = {name: {key: statistics.median(run[key] for run in some) for key in COLUMNS} for name, some in runs.items()}
    mine = median[OURS]
    ratios = {name: [run["redis"] / other["redis"] for run, other in zip(runs[OURS], runs[name])] for name in PEERS}
    bars = []
    for name, some in ratios.items():
        ratio = statistics.median(some)
        bars.append((f"Redis a job, no more than {name}", f"{ratio:.2f} of it ({min(some):.2f} to {max(some):.2f})", ratio <= 1))
    split = ", ".join(f"{key} {mine[key]:.0f}" for key in COLUMNS[1:4])
    bars.append((f"all processor time a job, at most {ALL_US} µs", f"{mine['all']:.0f} µs: {split}", mine["all"] <= ALL_US))
    cycles = statistics.median(run["cycles_per_second"] for run in runs[OURS])
    bars.append((f"full cycles, at least {CYCLES}/s", f"{cycles:.0f}/s", cycles >= CYCLES))
    if fleets:
        worst = max(fleets, key=lambda fleet: fleet["idle_while_work_waits"])
        share = worst["idle_while_work_waits"]
        bars.append((f"idle while work waits, at most {IDLE:.0%}", f"{share:.2%} at {worst['workers']} workers", share <= IDLE))
    return median, [{"bar": bar, "measured": measured, "met": met} for bar, measured, met in bars]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prelim", default=os.path.join(ROOT, "target/release/prelim"))
    parser.add_argument("--studies", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=32, help="workers, or jobs that BullMQ's worker does at once")
    parser.add_argument("--workers", help="numbers of simulated workers, such as 1,10,100,1000")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    install()
    runs = {OURS: []} | {name: [] for name in PEERS}
    with Redis() as redis:
        for number in range(a.rounds):
            print(f"round {number + 1} of {a.rounds} …", file=sys.stderr)
            runs[OURS].append(ours(a, redis))
            for name, kind in PEERS.items():
                runs[name].append(peer(a, redis, kind))
        fleets = []
        if a.workers:
            print("simulated workers …", file=sys.stderr)
            fleets = ours(a, redis, a.workers, studies=100)["fleets"]
    medians, bars = verdicts(runs, fleets)
    first, other = runs[OURS][0], runs[FLOWS][0]
    about = {
        "machine": first["machine"], "server": first["server"], "durability": first["durability"],
        "prelim": subprocess.run([a.prelim, "--version"], capture_output=True, text=True).stdout.strip(),
        "peer": f"BullMQ {other['bullmq']}, ioredis {other['ioredis']}, node {other['node']}"}
    if a.json:
        return print(json.dumps({"about": about, "medians": medians, "bars": bars, "fleets": fleets, "runs": runs}, indent=1))
    print(f"{about['machine']}; {about['server']}: {about['durability']}; {about['prelim']}; {about['peer']}")
    print(f"{a.studies} studies, {a.at_once} jobs at once, medians of {a.rounds} rounds (range); µs of processor time a job\n")
    print(f"| {'':31} | jobs/s | Redis | coordinators | client | all |")
    print("|---|---|---|---|---|---|")
    for name, row in medians.items():
        lows, highs = ({key: some(run[key] for run in runs[name]) for key in COLUMNS} for some in (min, max))
        cells = (f"{row[key]:,.0f} ({lows[key]:,.0f} to {highs[key]:,.0f})" if highs[key] else "none" for key in COLUMNS)
        print(f"| {name:31} | {' | '.join(cells)} |")
    print(f"\n{GUARANTEES}\n")
    if fleets:
        print("| workers | jobs | dispatch p50 | p99 ms | handover p50 | p99 ms | idle while work waits |")
        print("|---|---|---|---|---|---|---|")
        for fleet in fleets:
            waits = (fleet[kind][part] for kind in ("dispatch_ms", "handover_ms") for part in ("p50", "p99"))
            waits = " | ".join(f"{ms:.1f}" for ms in waits)
            print(f"| {fleet['workers']:,} | {fleet['read_jobs']:,} | {waits} | {fleet['idle_while_work_waits']:.2%} |")
        print()
    for bar in bars:
        print(f"{'met   ' if bar['met'] else 'MISSED'}  {bar['bar']}: {bar['measured']}")


if __name__ == "__main__":
    main()
