"""Reads one epoch of photos with torchvision and Pillow in one process: the peer of loader.lua.

    python peer_loader.py ROOT SIZE EPOCHS

One line per epoch: ms and CPU ms per 1,000 photos; then peak RSS in MB.
"""
import resource
import sys
import time

import torch
from torchvision import datasets, transforms

root, size, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
steps = transforms.Compose(
    [
        transforms.RandomResizedCrop(size, scale=(0.08, 1)),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.4, 0.4, 0.4),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)
loader = torch.utils.data.DataLoader(datasets.ImageFolder(root + "/train", steps), batch_size=32, shuffle=True)
for _ in range(epochs):
    wall, cpu, n = time.perf_counter(), time.process_time(), 0
    for x, _ in loader:
        n += len(x)
    print("%.2f %.2f" % ((time.perf_counter() - wall) * 1e6 / n, (time.process_time() - cpu) * 1e6 / n), flush=True)
print("rss %.1f" % (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
