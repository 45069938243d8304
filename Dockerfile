# The environment in which `make test` runs, without a GPU:
#   docker build -t mpvss .
#   docker run --rm mpvss                                                     the tests
#   docker run --rm -v "$PWD/outputs:/mpvss/outputs" mpvss make quickstart
# With GPUs add `--gpus all`: the torch wheel brings its CUDA libraries, the host brings the driver.
#
# License of the image: the code is Apache-2.0, but the av wheel that `make setup` installs carries FFmpeg with libx264 and libx265,
# which are GPL-2.0-or-later. Whoever passes the image on must keep to the GPL for them.
FROM python:3.11-slim-bookworm

# make and bash run the targets; git names the state of the code in a run; libgomp1 is what torch's CPU kernels link to.
# Debian keeps one version of a package, so a pinned one would fail to build after the next security release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y git libgomp1 make \
    && rm -rf /var/lib/apt/lists/*

LABEL org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later"

RUN useradd --create-home --uid 1000 mpvss && install -d -o mpvss -g mpvss /mpvss
USER 1000
WORKDIR /mpvss

# Requirements first: a change of the code leaves this layer as it was.
COPY --chown=mpvss Makefile requirements*.txt constraints.txt ./
RUN PIP_NO_CACHE_DIR=1 make setup

COPY --chown=mpvss . .
CMD ["make", "test"]
