"""Reads the scrape of a port as the Python client of Prometheus does.

Prints a JSON object: for each series its value."""

import json
import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics") as answer:
    text = answer.read().decode()

series = {}
for family in text_string_to_metric_families(text):
    assert family.documentation and family.type in ("counter", "gauge", "histogram"), family
    for sample in family.samples:
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
        series[f"{sample.name}{{{labels}}}"] = sample.value
print(json.dumps(series))
