"""Registering packs: what becomes a row, what is left out, what survives."""

import threading

import pytest
from django.db import connection, transaction
from django.db.models import RestrictedError

from apps.actions.models import Action
from apps.core.errors import AttuneError
from apps.identity.models import PermissionSet
from apps.packs.models import CORE_REF, Pack
from apps.packs.services import delete_pack, load_core_pack, pack_directory, register_pack
from apps.packs.signals import pack_deleted, pack_registered
from apps.workers.models import Runtime, RuntimeVersion
from tests.factories import make_action, make_identity, make_pack

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("packs_dir")]

ECHO = "name: echo\nentry_point: echo hi\n"


def warnings_of(registration):
    return [(warning["file"], warning["line"], warning["message"]) for warning in registration.warnings]


def test_every_key_of_an_action_file_is_stored(write, core_pack):
    folder = write("lab", {"actions/a.yaml": """
        ref: lab.check_port
        label: Check a TCP port
        description: d
        runner_type: python
        entry_point: check_port.py
        parameters: {host: {type: string, required: true}}
        output: {open: {type: boolean}}
        output_schema: {ignored: {}}
        parameter_delivery: file
        parameter_format: yaml
        output_format: jsonl
        runtime_version: ">=3.12,<4.0"
        required_worker_runtimes: {nodejs: "*"}
        worker_selector: {zone: eu}
        worker_tolerations: [{key: gpu}]
        worker_affinity: {required: [{match_labels: {a: b}}]}
        accesses_mcp: true
        default_execution_permission_set_refs: [core.viewer]
        log_retention_policy: days
        log_retention_limit: 3
        artifact_retention_policy: versions
        artifact_retention_limit: 4
        timeout_seconds: 20
        max_retries: 2
        on_worker_lost: retry
        max_lost_attempts: 5
        limits: {memory_mb: 64}
        priority: -3
        ambient_keys: [a]
        strict_parameters: true
        semaphores: [s]
        enabled: false
        unknown: {}
    """})  # fmt: skip

    registration = register_pack(folder)

    assert registration.warnings == []
    action = Action.objects.get(ref="lab.check_port")
    assert (action.pack, action.pack_ref, action.is_adhoc) == (registration.pack, "lab", False)
    assert action.runtime == Runtime.objects.get(ref="core.python")
    stored = {name: getattr(action, name) for name in (
        "label", "description", "entrypoint", "param_schema", "out_schema", "parameter_delivery", "parameter_format",
        "output_format", "runtime_version_constraint", "required_worker_runtimes", "worker_selector",
        "worker_tolerations", "worker_affinity", "accesses_mcp", "default_execution_permission_set_refs",
        "log_retention_policy", "log_retention_limit", "artifact_retention_policy", "artifact_retention_limit",
        "timeout_seconds", "max_retries", "on_worker_lost", "max_lost_attempts", "limits", "priority", "ambient_keys",
        "strict_parameters", "semaphores",
    )}  # fmt: skip
    assert stored == {
        "label": "Check a TCP port", "description": "d", "entrypoint": "check_port.py",
        "param_schema": {"host": {"type": "string", "required": True}}, "out_schema": {"open": {"type": "boolean"}},
        "parameter_delivery": "file", "parameter_format": "yaml", "output_format": "jsonl",
        "runtime_version_constraint": ">=3.12,<4.0", "required_worker_runtimes": {"nodejs": "*"},
        "worker_selector": {"zone": "eu"}, "worker_tolerations": [{"key": "gpu"}],
        "worker_affinity": {"required": [{"match_labels": {"a": "b"}}]}, "accesses_mcp": True,
        "default_execution_permission_set_refs": ["core.viewer"], "log_retention_policy": "days",
        "log_retention_limit": 3, "artifact_retention_policy": "versions", "artifact_retention_limit": 4,
        "timeout_seconds": 20, "max_retries": 2, "on_worker_lost": "retry", "max_lost_attempts": 5,
        "limits": {"memory_mb": 64}, "priority": -3, "ambient_keys": ["a"], "strict_parameters": True,
        "semaphores": ["s"],
    }  # fmt: skip


def test_an_action_file_that_says_little_gets_the_defaults(write, core_pack):
    register_pack(write("lab", {"actions/check_port.yml": "entry_point: echo hi"}))

    action = Action.objects.get(ref="lab.check_port")
    assert (action.label, action.runtime, action.timeout_seconds, action.ambient_keys) == (
        "Check Port", Runtime.objects.get(ref="core.shell"), None, "all",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("runner_type", "runtime"),
    [("bash", "core.shell"), ("Python3", "core.python"), ("node.js", "core.nodejs"), ("builtin", "core.native"),
     ("core.ruby", "core.ruby"), ("Rscript", "core.r"), ("lab.own", "lab.own"), ("OWN-alias", "lab.own")],
)  # fmt: skip
def test_the_runner_type_chooses_the_runtime(write, core_pack, runner_type, runtime):
    files = {
        "runtimes/own.yaml": "name: Own\nref: own\naliases: [Own-Alias]\n",
        "actions/a.yaml": f"runner_type: {runner_type}\nentry_point: x",
    }

    register_pack(write("lab", files))

    assert Action.objects.get(ref="lab.a").runtime.ref == runtime


def test_an_unknown_runner_type_is_stored_without_runtime_and_said(write, core_pack):
    registration = register_pack(write("lab", {"actions/a.yaml": "entry_point: x\nrunner_type: cobol"}))

    assert Action.objects.get(ref="lab.a").runtime is None
    assert warnings_of(registration) == [
        ("actions/a.yaml", 2, "no runtime 'cobol' is known; the action is stored without one")
    ]


def test_faulty_components_are_left_out_and_named_with_their_line(write, core_pack):
    registration = register_pack(write("lab", {
        "actions/a_list.yaml": "- x",
        "actions/b_type.yaml": "entry_point: x\ntimeout_seconds: soon",
        "actions/c_range.yaml": "priority: 101\nentry_point: x",
        "actions/d_choice.yaml": "entry_point: x\n\nparameter_delivery: env",
        "actions/e_limit.yaml": "entry_point: x\nlimits: {memory: 1}",
        "actions/f_place.yaml": "worker_tolerations: [{}]",
        "actions/g_ref.yaml": "description: d\nref: Lab.Upper",
        "actions/h_workflow.yaml": "workflow_file: workflows/x.yaml",
        "actions/i_version.yaml": "runtime_version: newest",
        "actions/z_good.yaml": ECHO,
        "actions/not_yaml.txt": "{",
        "actions/.hidden.yaml": "{",
        "actions/folder.yaml/x.yaml": "{",
        "permission_sets/p.yaml": "grants: [read]",
        "runtimes/q.yaml": "name: Upper",
        "runtimes/r.yaml": "versions: [{version: new}]",
        "surprises/s.yaml": "{",
    }))  # fmt: skip

    assert list(Action.objects.filter(pack_ref="lab").values_list("ref", flat=True)) == ["lab.echo"]
    assert [(file, line) for file, line, _ in warnings_of(registration)] == [
        ("permission_sets/p.yaml", 1), ("runtimes/q.yaml", None), ("runtimes/r.yaml", 1), ("actions/a_list.yaml", None),
        ("actions/b_type.yaml", 2), ("actions/c_range.yaml", 1), ("actions/d_choice.yaml", 3),
        ("actions/e_limit.yaml", 2), ("actions/f_place.yaml", 1), ("actions/g_ref.yaml", 2),
        ("actions/h_workflow.yaml", 1), ("actions/i_version.yaml", 1),
    ]  # fmt: skip
    assert Pack.objects.get(ref="lab").warnings == registration.warnings


def test_a_file_that_is_no_yaml_ends_the_loading_and_removes_nothing(write, core_pack):
    register_pack(write("lab", {"actions/a.yaml": ECHO, "actions/old.yaml": "entry_point: x"}))

    registration = register_pack(
        write(
            "lab",
            {
                "actions/a.yaml": "name: first\nentry_point: x",
                "actions/b.yaml": "a: 1\nb: c: d\n",
                "actions/c.yaml": ECHO,
            },
        ),
        force=True,
    )

    assert set(Action.objects.filter(pack_ref="lab").values_list("ref", flat=True)) == {
        "lab.echo", "lab.old", "lab.first",
    }  # fmt: skip
    ((file, line, message),) = warnings_of(registration)
    assert (file, line, message.startswith("not parsable: ")) == ("actions/b.yaml", 2, True)


def test_registering_again_updates_in_place_and_removes_what_is_gone(write, core_pack):
    by = make_identity()
    first = register_pack(
        write("lab", {"actions/a.yaml": ECHO, "actions/b.yaml": "entry_point: x",
                      "permission_sets/s.yaml": "grants: []", "runtimes/r.yaml": "name: r\nversions: [{version: '1'}, {version: '2'}]"},
              config="{a: 1}", label="First"),
        by=by,
    )  # fmt: skip
    Pack.objects.update(config={"a": "set by a user"})
    kept = make_action(pack=first.pack, ref="lab.adhoc")
    companion = make_action(pack=first.pack, ref="lab.flow", is_adhoc=False, workflow_def=7)
    before = {row.ref: row.pk for row in Action.objects.filter(pack_ref="lab")}
    RuntimeVersion.objects.filter(version="2").update(available=True)

    second = register_pack(
        write("lab", {"actions/a.yaml": ECHO + "timeout_seconds: 5", "runtimes/r.yaml": "name: r\nversions: [{version: '2'}, {version: '3'}]"},
              config="{a: 2}", label="Second", version="1.0.1"),
        force=True,
    )  # fmt: skip

    assert (first.created, second.created) == (True, False)
    pack = Pack.objects.get(ref="lab")
    assert (pack.pk, pack.label, pack.version, pack.config, pack.installed_by) == (
        first.pack.pk, "Second", "1.0.1", {"a": "set by a user"}, by,
    )  # fmt: skip
    after = {row.ref: row for row in Action.objects.filter(pack_ref="lab")}
    assert {ref: row.pk for ref, row in after.items()} == {
        "lab.echo": before["lab.echo"], "lab.adhoc": kept.pk, "lab.flow": companion.pk,
    }  # fmt: skip
    assert after["lab.echo"].timeout_seconds == 5
    assert not PermissionSet.objects.filter(pack_ref="lab").exists()
    versions = RuntimeVersion.objects.filter(runtime__pack=pack).order_by("version")
    assert list(versions.values_list("version", "available")) == [("2", True), ("3", False)]


def test_an_unchanged_component_is_not_written(write, core_pack):
    folder = write("lab", {"actions/a.yaml": ECHO})
    register_pack(folder)
    before = Action.objects.get(ref="lab.echo").updated

    register_pack(folder, force=True)

    assert Action.objects.get(ref="lab.echo").updated == before


def test_nobody_takes_over_what_belongs_to_another_pack_or_was_made_by_hand(write, core_pack):
    register_pack(write("other", {"actions/a.yaml": ECHO}))
    make_action(pack=make_pack(ref="lab"), ref="lab.mine", entrypoint="by hand")

    registration = register_pack(write("lab", {
        "actions/a.yaml": "ref: other.echo\nentry_point: evil",
        "actions/b.yaml": "ref: core.echo\nentry_point: evil",
        "actions/c.yaml": "ref: lab.mine\nentry_point: evil",
        "permission_sets/a.yaml": "ref: core.admin\ngrants: []",
        "runtimes/a.yaml": "ref: core.shell\nname: evil",
    }), force=True)  # fmt: skip

    assert warnings_of(registration) == [
        ("permission_sets/a.yaml", 1, "'core.admin' belongs to pack 'core'"),
        ("runtimes/a.yaml", 1, "'core.shell' belongs to pack 'core'"),
        ("actions/a.yaml", 1, "'other.echo' belongs to pack 'other'"),
        ("actions/b.yaml", 1, "'core.echo' belongs to pack 'core'"),
        ("actions/c.yaml", 1, "'lab.mine' was made through the API and is left as it is"),
    ]
    assert not Action.objects.filter(entrypoint="evil").exists()
    assert Runtime.objects.get(ref="core.shell").name == "Shell"


def test_a_runtime_that_is_still_used_stays_with_a_warning(write, core_pack):
    register_pack(write("lab", {"runtimes/own.yaml": "name: own"}))
    make_action(ref="x.y", runtime=Runtime.objects.get(ref="lab.own"))

    registration = register_pack(write("lab", {}), force=True)

    assert warnings_of(registration) == [("runtimes", None, "'lab.own' is no longer in the pack, but 1 row uses it")]


def test_files_that_lead_out_of_the_pack_are_not_read(write, core_pack, tmp_path):
    (tmp_path / "secret.yaml").write_text("entry_point: secret")
    folder = write("lab", {"actions/a.yaml": ECHO})
    (folder / "actions/z.yaml").symlink_to(tmp_path / "secret.yaml")

    registration = register_pack(folder)

    assert warnings_of(registration) == [("actions/z.yaml", None, "not parsable: the file leads out of the pack")]
    assert not Action.objects.filter(entrypoint="secret").exists()


def test_errors_that_leave_nothing_behind(write, tmp_path):
    (tmp_path / "empty").mkdir()
    folder = write("lab")
    register_pack(folder)

    for path, status, message in [
        (tmp_path / "absent", 400, f"There is no folder '{tmp_path / 'absent'}' on the server"),
        (folder / "pack.yaml", 400, f"There is no folder '{folder / 'pack.yaml'}' on the server"),
        (tmp_path / "empty", 400, "There is no pack.yaml in the pack"),
        (folder, 409, "Pack 'lab' already exists. Use force=true to reinstall."),
        (write("core"), 400, "The core pack comes with the product and cannot be replaced or deleted"),
    ]:
        with pytest.raises(AttuneError) as caught:
            register_pack(path)
        assert (caught.value.status, caught.value.message) == (status, message)

    assert list(Pack.objects.values_list("ref", flat=True)) == ["lab"]


def test_the_core_pack_can_be_registered_again_from_its_own_folder(settings, core_pack):
    with pytest.raises(AttuneError, match="already exists"):
        register_pack(settings.CORE_PACK_DIR)
    registration = register_pack(settings.CORE_PACK_DIR, force=True)

    assert (registration.pack.pk, registration.pack.is_standard) == (core_pack.pk, True)
    with pytest.raises(AttuneError, match="cannot be replaced or deleted"):
        delete_pack(core_pack)


def test_a_pack_registered_in_place_is_read_where_it_lies_and_left_there(write, core_pack):
    folder = write("lab", {"actions/a.yaml": ECHO, "permission_sets/s.yaml": "grants: []"})
    pack = register_pack(folder).pack
    assert pack_directory(pack) == folder

    delete_pack(pack)

    assert (folder / "actions/a.yaml").exists()
    assert not Action.objects.filter(pack_ref="lab").exists()
    assert not PermissionSet.objects.filter(pack_ref="lab").exists()


def test_a_pack_whose_runtime_others_use_cannot_be_deleted(write, core_pack):
    pack = register_pack(write("lab", {"runtimes/own.yaml": "name: own", "actions/a.yaml": ECHO})).pack
    make_action(ref="x.y", runtime=Runtime.objects.get(ref="lab.own"))

    with pytest.raises(RestrictedError):
        delete_pack(pack)

    assert Action.objects.filter(ref="lab.echo").exists()


@pytest.mark.django_db(transaction=True)
def test_news_are_sent_after_the_commit(write, core_pack):
    heard = []

    def hear(signal, **news):
        pack = news.get("pack")
        heard.append((pack.ref, news["created"]) if pack else (news["pack_ref"], news["pack_id"]))

    pack_registered.connect(hear, weak=False)
    pack_deleted.connect(hear, weak=False)
    try:
        pack_id = register_pack(write("lab")).pack.pk
        register_pack(write("lab"), force=True)
        delete_pack(Pack.objects.get(pk=pack_id))
        with transaction.atomic():
            register_pack(write("other"))
            assert len(heard) == 3
            transaction.set_rollback(True)
    finally:
        pack_registered.disconnect(hear)
        pack_deleted.disconnect(hear)

    assert heard == [("lab", True), ("lab", False), ("lab", pack_id)]


@pytest.mark.django_db(transaction=True)
def test_registrations_of_one_pack_wait_for_each_other(write):
    folder = write("lab", {f"actions/a{n}.yaml": "entry_point: x" for n in range(10)})
    outcomes = []

    def register():
        try:
            outcomes.append(register_pack(folder).created)
        except AttuneError as error:
            outcomes.append(error.status)
        finally:
            connection.close()

    threads = [threading.Thread(target=register) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [True, 409, 409, 409]
    assert Action.objects.count() == 10


@pytest.mark.django_db(transaction=True)
def test_several_processes_load_the_core_pack_at_once():
    outcomes = []

    def load():
        try:
            outcomes.append(load_core_pack().pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes == [Pack.objects.get(ref=CORE_REF).pk] * 4
