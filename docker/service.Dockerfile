# The service and models, with nothing of training and nothing to build with:
#     docker build -f docker/service.Dockerfile -t unroll .
# Run by itself it listens on a network, and starts only with API keys (UNROLL_API_KEYS, a file that is mounted) or with
# UNROLL_AUTHENTICATION=off where nobody else reaches it.
# With CUDA 13 and cuDNN 9:          --build-arg ONNXRUNTIME='onnxruntime-gpu[cuda,cudnn]' -t unroll:cuda
# With other models than the bundled ones: --build-context models=path/to/models

FROM python:3.12-slim AS build
WORKDIR /app
# onnxruntime-gpu also runs on a CPU, but weighs 300 MB more than what the CPU needs.
ARG ONNXRUNTIME=onnxruntime
# pip stays outside of what is copied on.
RUN python -m venv --without-pip /opt/unroll
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*(name for name in project['dependencies'] if not name.startswith('onnxruntime')), sep='\n')" > requirements.txt \
    && pip --python /opt/unroll/bin/python install --no-cache-dir --constraint constraints.txt \
        --requirement requirements.txt "$ONNXRUNTIME"
COPY service service
# The root file system is read-only where this runs: what Python would compile at each start is compiled here.
RUN /opt/unroll/bin/python -m compileall -q --invalidation-mode unchecked-hash service

FROM scratch AS models
COPY models /

FROM python:3.12-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent unroll \
    && install --directory --owner unroll --group unroll /models /var/lib/unroll
WORKDIR /app
COPY --from=build /opt/unroll /opt/unroll
COPY --chmod=755 docker/serve docker/healthy /usr/local/bin/
COPY --from=models --chown=unroll:unroll / /app/models
COPY --from=build /app/service service
USER unroll
ENV PATH=/opt/unroll/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    UNROLL_HOST=0.0.0.0 UNROLL_JOURNAL=sqlite:///var/lib/unroll/sessions.db
# Amazon SageMaker starts the image with `serve` and may name the port.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --start-period=30s --start-interval=1s CMD ["healthy", "live"]
CMD ["python", "-m", "service"]
