#!/bin/sh
# install_peers.sh -- puts the peers of the benchmarks (PyTorch, timm, onnxruntime, OpenVINO) into a virtual environment
# outside the tree.   spec/bench/install_peers.sh DIR      then: export FOODRT_PEERS=DIR
#
# The x86-64 wheel of PyTorch is its CUDA build. Where the machine has CUDA libraries of its own, set
# PEERS_NO_DEPS=1: torch is installed without its GPU packages but for the few the loader insists on.
set -eu
dir=${1:?usage: install_peers.sh DIR}
python3 -m venv "$dir/venv"
pip="$dir/venv/bin/pip install -q"
if [ "${PEERS_NO_DEPS:-}" = 1 ]; then
  $pip --no-deps torch torchvision timm safetensors nvidia-cufile nvidia-cusparselt-cu13 nvidia-nvshmem-cu13 \
    nvidia-nccl-cu13
  $pip numpy pillow typing_extensions sympy networkx jinja2 fsspec filelock pyyaml huggingface_hub httpx onnx onnxruntime openvino
  libs=$(find "$dir/venv" -path '*nvidia*' -name 'lib*.so*' -exec dirname {} + | sort -u | paste -sd: -)
  echo "export LD_LIBRARY_PATH=$libs:/usr/local/cuda/lib64" >"$dir/env.sh"
else
  $pip torch torchvision timm safetensors onnx onnxruntime openvino
  : >"$dir/env.sh"
fi
echo "peers are in $dir: export FOODRT_PEERS=$dir"
