# The environment in which `make test` runs, without a GPU:
#   docker build -t mpvss .
#   docker run --rm mpvss                                                     the tests
#   docker run --rm -v "$PWD/outputs:/mpvss/outputs" mpvss make quickstart
# With GPUs add `--gpus all`: the torch wheel brings its CUDA libraries, the host brings the driver.
FROM python:3.11-slim-bookworm

# make and bash run the targets; git names the state of the code in a run; libgomp1 is what torch's CPU kernels link to.
# Debian keeps one version of a package, so a pinned one would fail to build after the next security release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y git libgomp1 make \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 mpvss && install -d -o mpvss -g mpvss /mpvss
USER 1000
WORKDIR /mpvss

# Requirements first: a change of the code leaves this layer as it was.
COPY --chown=mpvss Makefile requirements*.txt ./
RUN PIP_NO_CACHE_DIR=1 make setup

COPY --chown=mpvss . .
CMD ["make", "test"]
