# Everything `python -m training` needs: docker build -f docker/training.Dockerfile -t unroll:training .
# A folder of wheels is preferred to the package index, so that a torch without CUDA makes a smaller image:
#     pip download --no-deps --dest wheels torch==… --index-url …; docker build --build-context wheels=wheels …

ARG PYTHON=3.12
FROM scratch AS wheels

FROM python:${PYTHON}-slim AS build
WORKDIR /app
RUN python -m venv --without-pip /opt/unroll
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
wanted = project['dependencies'] + project['optional-dependencies']['train']; \
print(*(name for name in wanted if not name.startswith('onnxruntime')), sep='\n')" > requirements.txt
RUN --mount=type=bind,from=wheels,target=/wheels \
    pip --python /opt/unroll/bin/python install --no-cache-dir --constraint constraints.txt --find-links /wheels \
        --requirement requirements.txt onnxruntime
COPY service service
COPY training training
RUN /opt/unroll/bin/python -m compileall -q --invalidation-mode unchecked-hash service training

FROM python:${PYTHON}-slim
# Data in /data; checkpoints and models go where relative paths lead: /runs and /models, which the service may serve.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent unroll \
    && install --directory --owner unroll --group unroll /data /models /runs
COPY --from=build /opt/unroll /opt/unroll
COPY --from=build /app /app
WORKDIR /
USER unroll
ENV PATH=/opt/unroll/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]
