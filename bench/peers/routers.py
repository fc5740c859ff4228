"""How is each router started before the same engines?

One function per router: it gets where programs are, a free port, a second one for its metrics and the engines'
ports, and returns the command and the URL that says it is ready. Everything not said here is the router's default.
"""

import json
import pathlib

ENVOY_THREADS = 2


def _urls(engines):
    return [f"http://127.0.0.1:{port}" for port in engines]


def envoy(tools, port, admin, engines, folder):
    """Plain round robin, the reference for what a proxy costs."""
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": engine}}}} for engine in engines
    ]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {
                                "cluster": "engines",
                                "timeout": "0s",
                                "retry_policy": {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2},
                            },
                        }
                    ],
                }
            ]
        },
    }
    config = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "engines",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "lb_policy": "ROUND_ROBIN",
                    "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}]},
                    "load_assignment": {"cluster_name": "engines", "endpoints": [{"lb_endpoints": endpoints}]},
                }
            ],
        },
    }
    path = pathlib.Path(folder) / "envoy.json"
    path.write_text(json.dumps(config))
    command = [tools.envoy, "-c", str(path), "--concurrency", str(ENVOY_THREADS), "--log-level", "error", "--base-id", str(port)]
    return command, f"http://127.0.0.1:{admin}/ready"


def sglang_router(tools, port, admin, engines, folder):
    command = [tools.python_bin("sglang-router"), "launch"] + _family(port, admin, engines) + ["--log-level", "warn"]
    return command, f"http://127.0.0.1:{port}/health"


def smg(tools, port, admin, engines, folder):
    # `bin/smg` may be another package's entry point of the same name.
    command = [tools.python, "-m", "smg", "launch"] + _family(port, admin, engines) + ["--log-level", "warn"]
    return command, f"http://127.0.0.1:{port}/health"


def vllm_router(tools, port, admin, engines, folder):
    command = [tools.python_bin("vllm-router")] + _family(port, admin, engines) + ["--log-level", "warning"]
    return command, f"http://127.0.0.1:{port}/health"


def _family(port, admin, engines):
    return [
        "--host", "127.0.0.1", "--port", str(port), "--worker-urls", *_urls(engines), "--policy", "cache_aware",
        "--prometheus-host", "127.0.0.1", "--prometheus-port", str(admin),
    ]  # fmt: skip


def prefixgate(tools, port, admin, engines, folder):
    command = [tools.prefixgate, "serve", "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}"]
    for url in _urls(engines):
        command += ["--endpoint", url]
    return command, f"http://127.0.0.1:{port}/readyz"


def prefixgate_round_robin(tools, port, admin, engines, folder):
    """Ours with routing off: what proxying alone costs, and what routing buys."""
    command, ready = prefixgate(tools, port, admin, engines, folder)
    return command + ["--preset", "round-robin"], ready


# `direct` is the client before the engines themselves: a reference line, no router.
ROUTERS = {
    "direct": None,
    "envoy-round-robin": envoy,
    "sglang-router": sglang_router,
    "vllm-router": vllm_router,
    "smg": smg,
    "prefixgate-round-robin": prefixgate_round_robin,
    "prefixgate": prefixgate,
}
