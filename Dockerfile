# The image of both services: `docker run … callboard api`, `docker run … callboard worker`, and of the other commands.

# `@sha256:…`, or nothing; scripts/pin-images.sh tells it to Compose.
ARG DEBIAN_DIGEST=

FROM debian:13-slim${DEBIAN_DIGEST} AS build
# Debian keeps only the newest of each package, so a version named here could not be installed next month.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements.services.lock ./
RUN python3 -m venv /opt/callboard \
    && /opt/callboard/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.services.lock
# What .dockerignore leaves.
COPY . ./
RUN /opt/callboard/bin/pip install --no-cache-dir --no-index --no-deps --no-build-isolation . \
    && /opt/callboard/bin/pip uninstall --yes hatchling

FROM debian:13-slim${DEBIAN_DIGEST}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        bubblewrap ca-certificates chromium-headless-shell iproute2 passt python3 tini \
        fonts-liberation fonts-noto-cjk fonts-noto-color-emoji \
    && rm -rf /var/lib/apt/lists/* \
    # Whoever may execute a program but not read it cannot look into it when it runs: tini has the whole environment.
    && chmod 0711 /usr/bin/tini \
    && useradd --uid 10001 --home-dir /var/lib/callboard --create-home --shell /usr/sbin/nologin callboard
COPY --from=build /opt/callboard /opt/callboard
ENV PATH=/opt/callboard/bin:$PATH \
    LANG=C.UTF-8 \
    CALLBOARD_DATA_DIR=/var/lib/callboard \
    CALLBOARD_HOST=0.0.0.0 \
    CALLBOARD_PORT=8400
USER 10001
WORKDIR /var/lib/callboard
EXPOSE 8400 8410
# Of a worker if there is an address for that, else of the api.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request as r; e = os.environ; r.build_opener(r.ProxyHandler({})).open(f\"http://{e.get('CALLBOARD_HEALTH_ADDRESS') or '127.0.0.1:' + e['CALLBOARD_PORT']}/healthz\", timeout=4)"]
# The first process of a container inherits all orphans. tini reaps them and hands signals on, which Python would not.
ENTRYPOINT ["tini", "--", "callboard"]
CMD ["api"]
