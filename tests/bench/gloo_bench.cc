// SPDX-License-Identifier: Apache-2.0
//
// gloo_bench ring|bcube|halving RANKS FOLDER BYTES…: what comm_bench measures, of Gloo over TCP, in the same form.
// Built by vs_gloo.sh alone. FOLDER is where the ranks meet.
#include <gloo/allreduce.h>
#include <gloo/allreduce_halving_doubling.h>
#include <gloo/barrier.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace {
constexpr int kRoundsMax = 500, kRoundsMin = 5, kWarmUp = 3;

int64_t now_ns(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
}

void rank_main(const std::string& algorithm, int rank, int world, const char* folder, const std::vector<size_t>& sizes,
               int64_t* times) {
  gloo::transport::tcp::attr attr("127.0.0.1");
  auto device = gloo::transport::tcp::CreateDevice(attr);
  auto context = std::make_shared<gloo::rendezvous::Context>(rank, world);
  gloo::rendezvous::FileStore store(folder);
  context->connectFullMesh(store, device);
  for (size_t bytes : sizes) {
    const size_t count = bytes / sizeof(float);
    std::vector<float> data(count, 0.25f);
    std::function<void()> reduce;
    std::unique_ptr<gloo::AllreduceHalvingDoubling<float>> halving;
    if (algorithm == "halving") {
      std::vector<float*> pointers = {data.data()};
      halving = std::make_unique<gloo::AllreduceHalvingDoubling<float>>(context, pointers, static_cast<int>(count));
      reduce = [&] { halving->run(); };
    } else {
      reduce = [&] {
        gloo::AllreduceOptions options(context);
        options.setAlgorithm(algorithm == "ring" ? gloo::AllreduceOptions::Algorithm::RING
                                                 : gloo::AllreduceOptions::Algorithm::BCUBE);
        options.setOutput(data.data(), count);
        void (*sum)(void*, const void*, const void*, size_t) = &gloo::sum<float>;
        options.setReduceFunction(sum);
        gloo::allreduce(options);
      };
    }
    const double wanted = 2e8 / (static_cast<double>(bytes) + 1);
    const int rounds = std::max<int>(kRoundsMin, static_cast<int>(std::min<double>(wanted, kRoundsMax)));
    int64_t cpu = 0;
    for (int round = -kWarmUp; round < rounds; round++) {
      gloo::BarrierOptions barrier(context);
      gloo::barrier(barrier);
      const int64_t begin = now_ns(CLOCK_MONOTONIC), cpu_begin = now_ns(CLOCK_PROCESS_CPUTIME_ID);
      reduce();
      times[rank * kRoundsMax + std::max(round, 0)] = now_ns(CLOCK_MONOTONIC) - begin;
      cpu += round < 0 ? 0 : now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin;
      if (round % 64 == 0) memset(data.data(), 0, bytes);  // values stay finite
    }
    gloo::BarrierOptions barrier(context);
    gloo::barrier(barrier);
    if (rank == 0) {
      for (int r = 1; r < world; r++)
        for (int i = 0; i < rounds; i++) times[i] = std::max(times[i], times[r * kRoundsMax + i]);
      std::sort(times, times + rounds);
      printf("%zu %.1f %.1f %.1f\n", bytes, times[rounds / 2] / 1e3, times[0] / 1e3,
             static_cast<double>(cpu) / rounds / 1e3);
      fflush(stdout);
    }
  }
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: gloo_bench ring|bcube|halving RANKS FOLDER BYTES…\n");
    return 2;
  }
  const int world = atoi(argv[2]);
  std::vector<size_t> sizes;
  for (int i = 4; i < argc; i++) sizes.push_back(strtoull(argv[i], nullptr, 10));
  void* shared = mmap(nullptr, sizeof(int64_t) * kRoundsMax * world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                      -1, 0);
  if (shared == MAP_FAILED) return 1;
  int rank = 0;
  for (int r = 1; r < world && rank == 0; r++)
    if (fork() == 0) rank = r;
  rank_main(argv[1], rank, world, argv[3], sizes, static_cast<int64_t*>(shared));
  while (rank == 0 && wait(nullptr) > 0) {
  }
  return 0;
}
