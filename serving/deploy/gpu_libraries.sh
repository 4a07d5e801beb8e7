#!/bin/sh
# The last step of the image: the CUDA libraries of the extra `serving-gpu`, if it is built with
# `bentoml containerize tandem:latest --opt build-arg=GPU_LIBRARIES=yes`. They need no CUDA in the base image; the driver
# comes with the node.
set -eu
case "$GPU_LIBRARIES" in
  no) ;;
  yes) uv pip install 'onnxruntime-gpu[cuda,cudnn]>=1.26,<1.27' ;;
  *)
    echo "GPU_LIBRARIES: '$GPU_LIBRARIES'; allowed: yes, no" >&2
    exit 1
    ;;
esac
