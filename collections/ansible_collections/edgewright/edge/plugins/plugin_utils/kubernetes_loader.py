"""YAML as Kubernetes reads it: what looks like a date is text, and so is a lone ``=`` (YAML 1.1's value)."""

from __future__ import annotations

from typing import Any

import yaml

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
KubernetesLoader: Any = type(
    "KubernetesLoader",
    (_PARSER,),
    {
        "yaml_implicit_resolvers": {
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }
    },
)
KubernetesLoader.add_constructor("tag:yaml.org,2002:value", KubernetesLoader.construct_yaml_str)
