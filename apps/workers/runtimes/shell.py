"""Shell: bash runs a file of the pack, or the entry point itself as a script."""

from apps.workers.job_spec import Job
from apps.workers.runtimes.base import ONE_WORD, Entry, Preparation, Runtime, RuntimeConfig, no_content, pack_file


class Shell(Runtime):
    names = frozenset({"shell", "bash", "sh"})
    default_config = {
        "interpreter": {"binary": "/bin/bash", "file_extension": ".sh"},
        "inline_execution": {"strategy": "temp_file", "extension": ".sh", "inject_shell_helpers": True},
    }

    def entry(self, job: Job, config: RuntimeConfig) -> Entry:
        """A word that the pack has as a file is that file; anything else is a script."""
        if not job.entrypoint.strip():
            no_content(job)
        if not ONE_WORD.fullmatch(job.entrypoint):
            return Entry(code=job.entrypoint)
        file = pack_file(job, job.entrypoint)
        if file:
            return Entry(file=file)
        if job.entrypoint.endswith(".sh") and not job.is_adhoc:
            no_content(job)
        return Entry(code=job.entrypoint)

    def inline_code(self, preparation: Preparation) -> str:
        """The definitions share one line with ``set -e``, so a line of the script is one further down, not many."""
        definitions, _, code = super().inline_code(preparation).partition("\n")
        return f"{definitions}{'; ' if definitions else ''}set -e\n{code}"
