"""scripts/venv.sh: what ``make up`` does before there is anything to run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "venv.sh"
# Stands for a Debian Python whose venv package is missing until apt-get has "installed" it.
PYTHON_WITHOUT_VENV = f"""#!/bin/sh
case "$*" in
    *ensurepip*) [ -e "$ROOT/installed" ] || exit 1 ;;
esac
exec {sys.executable} "$@"
"""
APT_GET = """#!/bin/sh
echo "$@" >>"$ROOT/apt-get.log"
case "$*" in *install*) touch "$ROOT/installed" ;; esac
"""
PACKAGE = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"

pytestmark = pytest.mark.sqlite  # no stack has a part in it


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with nothing to install, and commands of our own ahead of the machine's."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    (tmp_path / "bin").mkdir()
    return tmp_path


def command(project: Path, name: str, text: str) -> None:
    file = project / "bin" / name
    file.write_text(text)
    file.chmod(0o755)


def run(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "scripts/venv.sh", "requirements.txt"],
        cwd=project,
        env={"PATH": f"{project / 'bin'}:{os.environ['PATH']}", "ROOT": str(project), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_environment_is_made_once_and_brought_in_step_when_requirements_change(project: Path) -> None:
    environment = {"PYTHON": sys.executable}
    first = run(project, **environment)
    second = run(project, **environment)
    (project / "requirements.txt").write_text("# still nothing\n")
    third = run(project, **environment)

    assert [made.returncode for made in (first, second, third)] == [0, 0, 0]
    assert first.stdout.splitlines() == ["attune: making .venv", "attune: installing requirements.txt"]
    assert second.stdout == ""
    assert third.stdout.splitlines() == ["attune: installing requirements.txt"]


def test_missing_venv_package_is_named(project: Path) -> None:
    command(project, "python3", PYTHON_WITHOUT_VENV)
    command(project, "id", "#!/bin/sh\necho 1000\n")

    refused = run(project)

    assert refused.returncode == 2
    assert f"Install the package {PACKAGE}" in refused.stderr
    assert not (project / ".venv").exists()


def test_missing_venv_package_is_installed_by_root_on_debian(project: Path) -> None:
    command(project, "python3", PYTHON_WITHOUT_VENV)
    command(project, "id", "#!/bin/sh\necho 0\n")
    command(project, "apt-get", APT_GET)

    made = run(project)

    assert made.returncode == 0, made.stderr
    assert (project / "apt-get.log").read_text().splitlines() == [
        "update -q",
        f"install -q -y --no-install-recommends {PACKAGE}",
    ]
    assert (project / ".venv" / "bin" / "python").exists()


def test_python_that_is_missing_or_too_old_is_named(project: Path) -> None:
    command(project, "python3.8", '#!/bin/sh\ncase "$*" in *version_info*) exit 1 ;; *) echo Python 3.8.1 ;; esac\n')

    missing = run(project, PYTHON="python-of-tomorrow")
    old = run(project, PYTHON="python3.8")

    assert missing.stderr.startswith("attune: python-of-tomorrow is missing. Install Python 3.11 or newer")
    assert old.stderr.startswith("attune: Python 3.8.1 is too old. Attune needs 3.11 or newer")
    assert (missing.returncode, old.returncode) == (2, 2)
