"""Times one training step of a timm model in PyTorch: the peer of train_step.lua.

    python peer_train.py MODEL SIZE BATCH THREADS STEPS [--contiguous] [--compile] [--bf16]

Prints one line per step: wall ms, CPU ms; then peak RSS in MB. Forward, backward, AdamW; channels_last
unless --contiguous. Tuned malloc is the caller's business (MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_).
"""
import resource
import sys
import time

import timm
import torch

model, size, batch, threads, steps = sys.argv[1], *map(int, sys.argv[2:6])
flags = set(sys.argv[6:])
torch.set_num_threads(threads)
torch.manual_seed(0)
net = timm.create_model(model, num_classes=101).train()
x = torch.randn(batch, 3, size, size)
y = torch.arange(batch) % 101
if "--contiguous" not in flags:
    net = net.to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
opt = torch.optim.AdamW(net.parameters(), lr=1e-3)
run = torch.compile(net) if "--compile" in flags else net
for i in range(steps):
    wall, cpu = time.perf_counter(), time.process_time()
    opt.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled="--bf16" in flags):
        loss = torch.nn.functional.cross_entropy(run(x), y)
    loss.backward()
    opt.step()
    print("%.2f %.2f" % ((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3), flush=True)
print("rss %.1f" % (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
