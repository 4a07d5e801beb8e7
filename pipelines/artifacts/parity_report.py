"""`parity.json`: differences between each exported file and the trained model, with size and SHA-256 of the file."""

from pipelines.artifacts import json_object

FILE = "parity.json"
read, write = json_object.read, json_object.write
