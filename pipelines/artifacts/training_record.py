"""`run.json`: MLflow run, code, data, parameters and package versions of a training, its device and duration, the
number of weights and epochs, the best epoch and the one whose weights are stored."""

from pipelines.artifacts import json_object

FILE = "run.json"
read, write = json_object.read, json_object.write
