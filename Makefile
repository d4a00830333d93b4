# Everything somebody does every day. Each target makes what it needs; nothing has to be prepared.

PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help up test bench check fix lint types imports migrations openapi venv venv-tests

help:
	@echo 'make up      start the whole product on http://127.0.0.1:3000'
	@echo 'make test    run the tests, on SQLite and on PostgreSQL + Redis'
	@echo 'make check   lint, types, imports, migrations in step, OpenAPI'
	@echo 'make fix     repair what lint and format can repair'
	@echo 'make bench   measure, beside the bare floor'

up: venv
	@exec $(BIN)/python manage.py up

test: venv-tests
	@exec $(BIN)/python tests/run.py

bench: venv-tests
	@exec $(BIN)/python bench/run.py

check: lint types imports migrations openapi

fix: venv-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m settings.document

lint: venv-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv-tests
	$(BIN)/mypy

imports: venv-tests
	$(BIN)/lint-imports --no-logo

migrations: venv-tests
	DJANGO_SETTINGS_MODULE=settings.test $(BIN)/python manage.py makemigrations --check --dry-run

openapi: venv-tests
	DJANGO_SETTINGS_MODULE=settings.test $(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null

venv:
	@PYTHON='$(PYTHON)' sh scripts/venv.sh requirements.txt

venv-tests:
	@PYTHON='$(PYTHON)' sh scripts/venv.sh tests/requirements.txt
