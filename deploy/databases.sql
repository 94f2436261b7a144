-- Run once by Postgres when its volume is empty: beside the catalog's database `lafid` those of Dagster and MLflow.
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
