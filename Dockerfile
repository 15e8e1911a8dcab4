# One image for every process; docker-compose.yaml says which runs where.
FROM python:3.12-slim-bookworm

RUN useradd --create-home --uid 10001 wayfare && install -d -o wayfare /opt/wayfare /var/lib/wayfare
WORKDIR /opt/wayfare

COPY requirements.txt scripts/bootstrap.py ./
RUN mkdir scripts && mv bootstrap.py scripts/ \
    && python scripts/bootstrap.py \
    && VIRTUAL_ENV=.venv .venv/bin/uv pip sync --no-cache --require-hashes --compile-bytecode requirements.txt
COPY pyproject.toml README.md ./
COPY include include
COPY plugins plugins
COPY dags dags
RUN VIRTUAL_ENV=.venv .venv/bin/uv pip install --no-cache --no-deps --no-build-isolation --editable .

ENV PATH=/opt/wayfare/.venv/bin:$PATH \
    PYTHONPATH=/opt/wayfare/include:/opt/wayfare/plugins \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/var/lib/wayfare/airflow \
    WAYFARE_HOME=/var/lib/wayfare \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/wayfare/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/wayfare/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False
USER wayfare
VOLUME /var/lib/wayfare
