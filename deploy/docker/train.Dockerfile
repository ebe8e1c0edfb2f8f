# The jobs: logs in, releases out.
# From the root of the source: docker build -f deploy/docker/train.Dockerfile -t recall-train .
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /venv
COPY constraints.txt ./
RUN /venv/bin/pip install --no-cache-dir -c constraints.txt setuptools wheel
COPY LICENSE README.md pyproject.toml setup.py ./
COPY recall recall
COPY serving serving
COPY pipelines pipelines
RUN /venv/bin/pip install --no-cache-dir -c constraints.txt --no-build-isolation '.[train]'

FROM python:3.11-slim-bookworm
COPY --from=build /venv /venv
# A number, so that Kubernetes can see that it is not root.
RUN useradd --system --uid 10001 --home-dir /tmp recall
ENV PATH=/venv/bin:$PATH
USER 10001
ENTRYPOINT ["recall"]
CMD ["--help"]
