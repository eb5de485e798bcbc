# SPDX-License-Identifier: Apache-2.0
"""P9: the disk of the coordinator and its store is full, by failpoints at each write, and a real small one."""
import os
import subprocess
import tempfile
import time

from cluster import Cluster, Unanswered, until
from kills import check_uploads, failpoints
from load import Load

DISK_MIB = 96  # behind the last 64 MiB no blob is taken


def fill(cluster, fail, seconds):
    """The disk is full from that passage on, for a while, under a running coordinator; then there is room again."""
    load = Load(cluster, running=0.1, pause_s=0.01, seed=int(time.time()))
    cluster.arm(fail)
    time.sleep(seconds)
    cluster.arm("")
    load.stopping = True
    load.stop()


def p9(build, offsets, seed):
    """A disk that is full, at the n-th write of each kind: nobody is told what is not so, the process stays, and
    goes on by itself when there is room again."""
    points = [name for name, kind in failpoints("any", "tailord") if kind == "WRITE"] + ["records_commit"]
    with Cluster(build, workers=1, slots=2, step_ms=1, seed=seed) as cluster:
        broken = []
        cluster.coordinator.kill()
        cluster.start_armed()
        for i in range(offsets):
            name = points[i % len(points)]
            count = 1 + (i // len(points)) * 3 + cluster.random.randint(0, 2)
            fill(cluster, f"{name}:{count}+:full", 0.4)
            if not cluster.coordinator.alive():
                broken.append(f"P9: tailord ended when {name} found the disk full at its passage {count}")
                cluster.start_armed()
            broken += recovers(cluster, f"full-{i}", f"{name}:{count}")
        acknowledged = len(cluster.history.acknowledged)
        cluster.coordinator.kill()  # what memory knew must be what the disk has
        cluster.start_coordinator()
        broken += cluster.history.check(cluster.finish())
        return broken, f"{offsets} times full, {acknowledged} jobs acknowledged"


def recovers(cluster, key, what):
    data = f"after {key}".encode()
    try:
        until(lambda: cluster.submit(key, later=True), "", 5)
        digest = until(lambda: uploads(cluster, data), "", 5)
    except TimeoutError:
        return [f"P9: there is room again behind {what}, and nothing is taken"]
    return [] if cluster.blob(digest) == data else [f"P9: behind {what} an upload was acknowledged and is not there"]


def uploads(cluster, data):
    try:
        return cluster.upload("acme", data)
    except (AssertionError, Unanswered):
        return None


# ---- a disk that is small ----------------------------------------------------------------------------------

def can_mount():
    with tempfile.TemporaryDirectory() as where:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", where], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", where], check=True)
        return done.returncode == 0


def ballast(cluster, left):
    """Fills the disk up to so many bytes."""
    path = os.path.join(cluster.data, "ballast")
    free = os.statvfs(cluster.data).f_bavail * os.statvfs(cluster.data).f_frsize
    with open(path, "wb", buffering=0) as f:
        try:
            for _ in range(max(0, free - left) // 4096):
                f.write(bytes(4096))
        except OSError:
            pass  # it grew meanwhile
    return path


def not_ready(cluster):
    try:
        return cluster.request("GET", "/readyz")[0] == 503
    except Unanswered:
        return False


def p9_tmpfs(build, offsets, seed):
    """A disk of a few megabytes, filled to within some kilobytes under a running coordinator: nobody is told what is
    not so, and it goes on by itself when there is room again. Needs the right to mount."""
    with Cluster(build, workers=1, slots=2, step_ms=1, seed=seed, disk_mib=DISK_MIB) as cluster:
        broken, refused = [], 0
        for i in range(offsets):
            path = ballast(cluster, cluster.random.choice((0, 4096, 16384, 65536, 200000)))
            load = Load(cluster, running=0.1, uploading=0.5, backups=False, pause_s=0.01, seed=1000 * seed + i)
            time.sleep(0.5)
            refused += not_ready(cluster)
            os.unlink(path)
            load.stopping = True
            load.stop()
            if not cluster.coordinator.alive():
                code = cluster.coordinator.process.returncode
                broken.append(f"P9: tailord ended with {code} when its disk was full")
                cluster.start_coordinator()
            broken += recovers(cluster, f"full-{i}", "a full disk")
        acknowledged = len(cluster.history.acknowledged)
        cluster.coordinator.kill()
        cluster.start_coordinator()
        broken += cluster.history.check(cluster.finish()) + check_uploads(cluster)
        if refused == 0:
            broken.append("the disk was never full")
        return broken, f"{offsets} times full, {refused} times not ready, {acknowledged} jobs acknowledged"
