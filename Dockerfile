# The guard as a service: docs/serve.md says how to run it.
#
#   docker build --tag denseam-guard .
#   docker build --tag denseam-kserve --build-arg EXTRA=kserve .
FROM python:3.13-slim-bookworm AS build
ARG EXTRA=serve
# The base image decides which release of Debian it is.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/denseam \
    && /opt/denseam/bin/pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
COPY pyproject.toml setup.py README.md LICENSE /source/
COPY src /source/src
RUN /opt/denseam/bin/pip install --no-cache-dir "/source[$EXTRA]"

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/denseam --create-home denseam
COPY --from=build /opt/denseam /opt/denseam
USER 10001
WORKDIR /var/lib/denseam
VOLUME /var/lib/denseam
ENV OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
EXPOSE 8080
HEALTHCHECK --start-period=30s --interval=10s --timeout=3s \
    CMD ["/opt/denseam/bin/python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/v2/health/ready', timeout=2)"]
ENTRYPOINT ["/opt/denseam/bin/denseam", "guard", "serve", "/etc/denseam/guard.safetensors", "--host", "0.0.0.0"]
CMD ["--api-key-file", "/run/secrets/keys"]
