"""`errors/CANDIDATE.json`: the test examples with the largest errors of one candidate's graph, with their inputs."""

from pipelines.artifacts import json_object

read, write = json_object.read, json_object.write
