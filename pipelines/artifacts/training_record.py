"""`run.json`: MLflow run, code and data of a training, its device, duration, parameter count and best epoch."""

from pipelines.artifacts import json_object

FILE = "run.json"
read, write = json_object.read, json_object.write
