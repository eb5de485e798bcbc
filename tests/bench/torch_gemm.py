# SPDX-License-Identifier: Apache-2.0
"""PyTorch's matrix product (MKL's in its own wheels; oneDNN's in bf16) on gemm_bench's shapes.

    torch_gemm.py THREADS ROUNDS DTYPE DIRECTION:ROWS:N:K…     a line for each: direction rows N K threads GFLOP/s

Median over rounds of 30 ms; one thread is timed by its own clock: as gemm_bench.
"""
import statistics
import sys
import time

import torch

ROUND_SECONDS = 0.03


def product(direction, rows, n, k, dtype):
    """The call, as PyTorch's own linear layer makes it forward and backward; out= saves the allocation."""
    x, w, y = (torch.rand(*shape).to(dtype) for shape in ((rows, k), (n, k), (rows, n)))
    if direction == "forward":
        return lambda: torch.mm(x, w.t(), out=y)
    if direction == "dgrad":
        return lambda: torch.mm(y, w, out=x)
    return lambda: torch.mm(y.t(), x, out=w)


def rate(call, flops, clock):
    call()
    calls, begun = 0, clock()
    while clock() - begun < ROUND_SECONDS:
        call()
        calls += 1
    return flops * calls / (clock() - begun) / 1e9


def main():
    threads, rounds, dtype, *shapes = sys.argv[1:]
    torch.set_num_threads(int(threads))
    clock = time.thread_time if int(threads) == 1 else time.perf_counter
    for shape in shapes:
        direction, *sizes = shape.split(":")
        rows, n, k = map(int, sizes)
        call = product(direction, rows, n, k, {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype])
        rates = [rate(call, 2.0 * rows * n * k, clock) for _ in range(int(rounds))]
        print(direction, rows, n, k, threads, f"{statistics.median(rates):.1f}")


main()
