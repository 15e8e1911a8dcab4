# One image for every process; docker-compose.yaml says which runs where. Its code is root's: the user that runs it
# writes to /var/lib/wayfare and /tmp, nowhere else. What changes least comes first.
FROM python:3.13.16-slim-trixie@sha256:3dd7cc108ec1493442514f5c2a871af6af0ec31d768ff6e378a93340c3b3db5f

RUN useradd --create-home --uid 10001 wayfare && install --directory --owner wayfare /var/lib/wayfare
WORKDIR /opt/wayfare

COPY requirements-production.txt requirements.txt
COPY scripts/bootstrap.py scripts/
RUN python scripts/bootstrap.py \
    && VIRTUAL_ENV=.venv .venv/bin/uv pip sync --no-cache --require-hashes --compile-bytecode requirements.txt
COPY pyproject.toml ./
COPY include include
COPY plugins plugins
COPY dags dags
RUN VIRTUAL_ENV=.venv .venv/bin/uv pip install --no-cache --no-deps --no-build-isolation --editable . \
    && .venv/bin/python -m compileall -q include plugins dags \
    && rm .venv/.lock /tmp/uv-*.lock

ENV PATH=/opt/wayfare/.venv/bin:$PATH \
    PYTHONPATH=/opt/wayfare/include:/opt/wayfare/plugins \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/var/lib/wayfare/airflow \
    WAYFARE_HOME=/var/lib/wayfare \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/wayfare/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/wayfare/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False
USER 10001:10001
VOLUME /var/lib/wayfare
