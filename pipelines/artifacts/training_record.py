"""`run.json`: MLflow run, code and data of a training, its device and duration, the number of parameters and
epochs, the best epoch and the one whose weights are stored."""

from pipelines.artifacts import json_object

FILE = "run.json"
read, write = json_object.read, json_object.write
