# The service and the bundled models, with nothing of training: docker build -f docker/service.Dockerfile -t unroll .
# Mount other models over /app/models, read-only.

FROM python:3.12-slim AS build
WORKDIR /app
RUN python -m venv /opt/unroll
COPY pyproject.toml constraints.txt README.md LICENSE ./
# An empty package first: dependencies stay in a layer of their own while the source changes.
RUN mkdir service && touch service/__init__.py \
    && /opt/unroll/bin/pip install --no-cache-dir --constraint constraints.txt . \
    && /opt/unroll/bin/pip uninstall --yes unroll

FROM python:3.12-slim
RUN useradd --uid 10001 --user-group --no-create-home unroll
WORKDIR /app
COPY --from=build /opt/unroll /opt/unroll
COPY service service
COPY models models
USER unroll
ENV PATH=/opt/unroll/bin:$PATH PYTHONUNBUFFERED=1 UNROLL_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
CMD ["python", "-m", "service"]
