"""A new boot entry that does not work is tried as often as its name says, and then the old one starts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgewright.paths import Cache, default_cache
from edgewright.pipeline import epoch_of
from edgewright.stages.stage import Context
from edgewright.stages.tools_tree import ToolsTree
from edgewright.tools.sandbox import bind

from .booted_node import MINUTE
from .disk_image import boot_entries, copy_in, copy_out, sections

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.store import Store

    from .conftest import Build, MakeNode

# Later than any version of this project; sd-boot sorts by VERSION_ID of .osrel (Boot Loader Specification, "Sorting").
NEWER = "99.1"
# Nothing that could be the first program, and no root file system: the kernel panics, and a panic boots again at once.
HOPELESS = "rdinit=/nonexistent root=/dev/ram0 panic=1 console=ttyS0,115200"


def panicking_uki(demo: Build, store: Store, good: Path, folder: Path) -> Path:
    """Make a newer boot entry, with the image's own kernel, that panics before its first program."""
    parts = sections(good, folder, ".linux", ".osrel")
    release = re.sub(r"(?m)^VERSION_ID=.*$", f"VERSION_ID={NEWER}", parts[".osrel"].rstrip(b"\0").decode())
    (folder / "linux").write_bytes(parts[".linux"])
    (folder / "os-release").write_text(release)
    cache = Cache(default_cache())
    context = Context(cache, epoch_of(demo.lock), folder / "log")
    tools = ToolsTree(demo.lock, store)
    tools.build(context)
    tools.sandbox(context, bind(folder, "/run/uki")).run(
        [
            *("ukify", "build", "--linux=/run/uki/linux", f"--cmdline={HOPELESS}"),
            *("--os-release=@/run/uki/os-release", "--output=/run/uki/bad.efi"),
        ]
    )
    return folder / "bad.efi"


def test_a_boot_entry_that_panics_is_tried_twice_and_then_the_good_one_starts(
    demo: Build, store: Store, make_node: MakeNode, tmp_path: Path
) -> None:
    node = make_node("bad-entry", demo.image, demo.host("till-01"))
    (good,) = boot_entries(node.disk)
    bad = panicking_uki(demo, store, copy_out(node.disk, f"EFI/Linux/{good}", tmp_path / "good.efi"), tmp_path)
    copy_in(node.disk, f"EFI/Linux/edgewright_{NEWER}+2.efi", bad)
    node.start()
    assert node.wait_recognised(12 * MINUTE) == ("till-01", "mac")
    panics = re.findall(r"Kernel panic - not syncing: VFS: Unable to mount root fs", node.machine.console_text())
    assert len(panics) == 2, "tried as often as its name said, +2"
    node.machine.kill()
    assert boot_entries(node.disk) == [
        f"edgewright_{demo.manifest['version']}+4-1.efi",
        f"edgewright_{NEWER}+0-2.efi",
    ]


def test_an_image_on_trial_that_is_not_healthy_boots_again_when_there_is_another(
    demo: Build, make_node: MakeNode, tmp_path: Path
) -> None:
    checks = "/etc/edgewright/health.d"
    # Services and machines, which are not started here, are not asked either.
    lines = [
        *(f"r {checks}/{kind}-*" for kind in ("inference", "vm")),
        f"f {checks}/never 0755 root root - #!/bin/sh\\necho the pump does not turn\\nexit 1\\n",
        "f+ /etc/edgewright/health.env 0644 root root - HEALTH_DEADLINE=5\\nHEALTH_TIMEOUT=20\\n",
    ]
    # systemd-tmpfiles writes what this credential says, before any service starts (systemd.system-credentials(7)).
    credentials = {"tmpfiles.extra": "\n".join(lines).encode()}
    node = make_node(
        "unhealthy", demo.image, demo.host("till-01"), credentials=credentials, reboots=False, workloads=False
    )
    (good,) = boot_entries(node.disk)
    copy = copy_out(node.disk, f"EFI/Linux/{good}", tmp_path / "good.efi")
    copy_in(node.disk, "EFI/Linux/edgewright_0.0.1+5.efi", copy)
    node.start()
    node.machine.wait_for_console(r"not healthy: never: the pump does not turn", 15 * MINUTE)
    node.machine.wait_for_console(r"edgewright: not healthy and on trial: booting again", 5 * MINUTE)
    assert node.machine.wait(10 * MINUTE) is not None, "it said that it would boot again, and did not"
    version = demo.manifest["version"]
    assert boot_entries(node.disk) == ["edgewright_0.0.1+5.efi", f"edgewright_{version}+4-1.efi"]
