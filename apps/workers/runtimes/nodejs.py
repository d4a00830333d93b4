"""Node.js: files only."""

from apps.workers.runtimes.base import Runtime


class NodeJs(Runtime):
    names = frozenset({"nodejs", "node", "node.js"})
    default_config = {
        "interpreter": {"binary": "node", "file_extension": ".js"},
        "env_vars": {"NODE_PATH": "{env_dir}/node_modules"},
    }
