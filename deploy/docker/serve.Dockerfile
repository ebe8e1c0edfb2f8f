# The server: gRPC on 8500, HTTP on 8501, one release in /release.
# From the root of the source: docker build -f deploy/docker/serve.Dockerfile -t recall-serve .
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /venv
COPY constraints.txt ./
RUN /venv/bin/pip install --no-cache-dir -c constraints.txt setuptools wheel
COPY LICENSE README.md pyproject.toml setup.py ./
COPY recall recall
COPY serving serving
COPY pipelines pipelines
RUN /venv/bin/pip install --no-cache-dir -c constraints.txt --no-build-isolation '.[serve]'

FROM python:3.11-slim-bookworm
COPY --from=build /venv /venv
# A number, so that Kubernetes can see that it is not root.
RUN useradd --system --uid 10001 --home-dir /tmp recall
ENV PATH=/venv/bin:$PATH
USER 10001
EXPOSE 8500 8501
# Ready, not merely alive: while a release is loaded nobody should ask.
HEALTHCHECK --start-period=120s --interval=10s --timeout=6s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/readyz', timeout=5)"]
ENTRYPOINT ["recall"]
CMD ["serve", "--release=/release", "--host=0.0.0.0", "--log_format=json"]
