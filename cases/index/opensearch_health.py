"""What a search server says about itself, for those who operate it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from cases.index.engine import Health, IndexUnavailable
from cases.index.opensearch_client import Client
from cases.index.opensearch_shape import VERSION

#: Seconds for each question; all are asked at once.
_PATIENCE: Final = 2.5
_SETTINGS: Final = (
    "action.auto_create_index",
    "action.destructive_requires_name",
    "cluster.max_shards_per_node",
    "cluster.routing.allocation.disk.watermark.high",
    "cluster.routing.allocation.disk.watermark.flood_stage",
)


def health(client: Client, ours: str) -> Health:
    """Return what the server says about itself, within three seconds; never raises.

    `ours` is the pattern of the names of this installation.
    """
    questions: dict[str, Callable[[], Any]] = {
        "root": lambda: _ask(client, ""),
        "cluster": lambda: _ask(client, "_cluster/health"),
        "stats": lambda: _ask(client, f"{ours}/_stats/docs,store", filter_path="_all"),
        "mappings": lambda: _ask(client, f"{ours}/_mapping", filter_path="*.mappings._meta.version"),
        "settings": lambda: _ask(client, "_cluster/settings", include_defaults="true", filter_path=_filter()),
        "disks": lambda: _ask(client, "_nodes/stats/fs", filter_path="nodes.*.fs.total"),
    }
    with ThreadPoolExecutor(len(questions), "health") as pool:
        asked = {name: pool.submit(question) for name, question in questions.items()}
    facts = {"engine": "OpenSearch", "hosts": client.hosts, "mapping": str(VERSION)}
    told: dict[str, Any] = {}
    for name, answer in asked.items():
        try:
            told[name] = answer.result()
        except IndexUnavailable as error:
            if name in ("root", "cluster"):
                return Health(False, str(error), facts)
            facts[f"not told: {name}"] = str(error)
    return _judged(facts, told)


def _ask(client: Client, path: str, **params: str) -> Any:
    return client.ask("GET", path, params=params, timeout=_PATIENCE)


def _filter() -> str:
    return ",".join(f"*.{name}" for name in _SETTINGS)


def _judged(facts: dict[str, str], told: dict[str, Any]) -> Health:
    cluster = told["cluster"]
    facts |= {
        "version": told["root"]["version"]["number"],
        "status": cluster["status"],
        "nodes": str(cluster["number_of_nodes"]),
    }
    settings = {name: _setting(told.get("settings", {}), name) for name in _SETTINGS}
    facts |= {name: value for name, value in settings.items() if value}
    if (most := settings.get("cluster.max_shards_per_node", "")).isdigit():
        taken = cluster["active_shards"] + cluster["unassigned_shards"]
        facts["shards_left"] = str(int(most) * cluster["number_of_data_nodes"] - taken)
    if indices := told.get("stats", {}).get("_all", {}).get("total"):
        documents = told["stats"]["_all"]["primaries"]["docs"]["count"]
        facts |= {"documents": str(documents), "bytes": str(indices["store"]["size_in_bytes"])}
    behind = [
        name
        for name, held in told.get("mappings", {}).items()
        if held["mappings"]["_meta"]["version"] != VERSION
    ]
    facts["indices_behind"] = str(len(behind))
    facts |= _disk(told.get("disks", {}).get("nodes", {}))
    if cluster["status"] == "red":
        return Health(False, "A part of the index is on no node: start the nodes that are down.", facts)
    if behind:
        return Health(False, f"{len(behind)} indices are of another version. Run: manage.py reindex", facts)
    if int(facts.get("shards_left", "1")) < 1:
        return Health(
            False,
            "The search server has no room for another index: raise cluster.max_shards_per_node.",
            facts,
        )
    return Health(True, f"OpenSearch {facts['version']} answers.", facts)


def _setting(levels: dict[str, Any], name: str) -> str:
    """Return what a setting is, wherever it was set."""
    for level in ("transient", "persistent", "defaults"):
        found: Any = levels.get(level, {})
        for part in name.split("."):
            found = found.get(part, {}) if isinstance(found, dict) else {}
        if found:
            return str(found)
    return ""


def _disk(nodes: dict[str, Any]) -> dict[str, str]:
    """The node with the least room decides: there the index becomes read-only first."""
    totals = [node["fs"]["total"] for node in nodes.values()]
    if not totals:
        return {}
    fullest = min(totals, key=lambda total: total["available_in_bytes"])
    used = 100 - 100 * fullest["available_in_bytes"] / fullest["total_in_bytes"]
    return {"disk_free": str(fullest["available_in_bytes"]), "disk_used_percent": f"{used:.0f}"}
