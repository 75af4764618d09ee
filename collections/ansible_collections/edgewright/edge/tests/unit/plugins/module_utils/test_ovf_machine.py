from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.allocation_units import bytes_in_unit
from ansible_collections.edgewright.edge.plugins.module_utils.disk_contents import DiskContents
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import ImportOptions, refusals
from ansible_collections.edgewright.edge.plugins.module_utils.ovf import read_envelope
from ansible_collections.edgewright.edge.plugins.module_utils.ovf_machine import OvfMachine
from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import parse
from ansible_collections.edgewright.edge.tests.unit.machine_sources import source

UEFI = DiskContents("gpt", (), esp=True, fallback_loader=True, bios_bootable=False, os_family="linux")
BIOS = DiskContents("mbr", (), esp=False, fallback_loader=False, bios_bootable=True, os_family="windows")
FIRMWARE = '<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>'
IDE = (
    "<rasd:ResourceSubType>lsilogicsas</rasd:ResourceSubType>\n        <rasd:ResourceType>6<",
    "<rasd:ResourceType>5<",
)
XP, W2K = 'id="xp"', 'id="w2k"'
SECURE = 'efiSecureBootEnabled" vmw:value="true"', 'efiSecureBootEnabled" vmw:value="false"'


def imported(file, /, *changes, contents=None, **options):
    envelope = read_envelope(source(file, *changes), where=file)
    return OvfMachine(envelope, ImportOptions(**options), where=file).imported(contents)


def outcome(machine, end):
    (line,) = [line for line in machine.report if line["field"].endswith(end)]
    return line["outcome"], line["why"]


@pytest.mark.parametrize(
    ("units", "factor"),
    [
        ("byte * 2^20", 2**20),
        ("byte*2^30", 2**30),
        ("bytes * 2 ^ 10", 2**10),
        ("byte * 10^9", 10**9),
        ("byte * 1048576", 2**20),
        ("byte", 1),
        ("MegaBytes", 2**20),
        ("megabytes", 2**20),
        ("GB", 2**30),
        ("GigaBytes", 2**30),
        ("KB", 2**10),
        ("MiB", 2**20),
        ("TB", 2**40),
        ("", 7),
    ],
)
def test_units_are_read_however_they_are_spelled(units, factor):
    assert bytes_in_unit(units, default=7) == factor
    assert bytes_in_unit(f" {units} ", default=7) == factor


@pytest.mark.parametrize("units", ["parsecs", "byte * 2^99", "hertz * 10^6", "byte ^ 20", "byte * 0", "2^20"])
def test_what_is_no_unit_of_bytes_is_refused(units):
    with pytest.raises(UnfitError):
        bytes_in_unit(units)


@pytest.mark.parametrize(
    ("units", "quantity"), [("byte * 2^20", 4096), ("GB", 4), ("MegaBytes", 4096), ("byte * 2^30", 4), ("KB", 2**22)]
)
def test_memory_is_what_its_unit_says(units, quantity):
    machine = imported(
        "vmware.ovf",
        ("<rasd:AllocationUnits>byte * 2^20<", f"<rasd:AllocationUnits>{units}<"),
        (">4096</rasd:VirtualQuantity>", f">{quantity}</rasd:VirtualQuantity>"),
    )
    assert machine.vm["memory"] == 4 * 2**30


def test_six_processors_in_sockets_of_four_stay_six():
    machine = imported("vmware.ovf")
    assert machine.vm["cpu"] == {"sockets": 6, "cores": 1, "threads": 1, "model": "host-model"}
    assert outcome(machine, "Item[1]/CoresPerSocket")[0] == "changed"
    divisible = imported("vmware.ovf", ('required="false">4<', 'required="false">3<'))
    assert divisible.vm["cpu"] == {"sockets": 2, "cores": 3, "threads": 1, "model": "host-model"}
    assert outcome(divisible, "Item[1]/CoresPerSocket")[0] == "kept"
    none = imported("vmware.ovf", ('required="false">4<', 'required="false">0<'))
    assert none.vm["cpu"]["sockets"] * none.vm["cpu"]["cores"] == 6


def test_firmware_and_secure_boot_are_the_sources():
    machine = imported("vmware.ovf", contents=UEFI)
    assert (machine.vm["firmware"], machine.vm["secure_boot"], machine.vm["machine"]) == ("uefi", True, "q35")
    plain = imported("vmware.ovf", SECURE, contents=UEFI)
    assert (plain.vm["firmware"], plain.vm["secure_boot"]) == ("uefi", False)
    extra = imported("vmware.ovf", SECURE, ("tools.syncTimeWithHost", "uefi.secureBoot.enabled"), contents=UEFI)
    assert extra.vm["secure_boot"] is False
    bios = imported("vmware.ovf", ('"firmware" vmw:value="efi"', '"firmware" vmw:value="bios"'), contents=UEFI)
    assert (bios.vm["firmware"], bios.vm["secure_boot"]) == ("bios", False)


@pytest.mark.parametrize(("contents", "firmware"), [(UEFI, "uefi"), (BIOS, "bios"), (None, "bios")])
def test_firmware_that_nobody_names_is_what_the_disk_has(contents, firmware):
    machine = imported("vmware.ovf", (FIRMWARE, ""), contents=contents)
    assert machine.vm["firmware"] == firmware
    told, why = outcome(machine, "firmware")
    assert told == "changed"
    assert "source does not say" in why


def test_a_loader_that_only_the_old_firmwares_variables_named_is_told_of():
    lost = DiskContents("gpt", (), esp=True, fallback_loader=False, bios_bootable=False, os_family="linux")
    assert "EFI/BOOT/BOOTX64.EFI" in outcome(imported("vmware.ovf", contents=lost), "boot entry")[1]
    assert not [line for line in imported("vmware.ovf", contents=UEFI).report if line["field"] == "boot entry"]
    assert outcome(imported("vmware.ovf", contents=UEFI), "File[3]@href")[0] == "dropped"


def test_uuid_and_mac_are_kept_and_a_second_card_with_the_same_gets_its_own():
    machine = imported("vmware.ovf")
    assert machine.vm["uuid"] == "421a5c0e-6d21-9b7f-1c35-8d0a771e029c"
    assert machine.vm["nics"][0]["mac"] == "00:50:56:9a:1c:2d"
    assert "mac" not in machine.vm["nics"][1]
    assert outcome(machine, "Item[9]/Address")[0] == "changed"
    absent = imported("vmware.ovf", ("<rasd:Address>00:50:56:9A:1C:2D</rasd:Address>", ""))
    assert "mac" not in absent.vm["nics"][0]
    assert outcome(absent, "nics[0].mac")[0] == "changed"
    assert absent.vm["nics"][1]["mac"] == "00:50:56:9a:1c:2d"


def test_vmxnet3_is_e1000e_and_virtio_only_where_its_driver_is_known():
    assert [nic["model"] for nic in imported("vmware.ovf").vm["nics"]] == ["e1000e", "e1000"]
    known = imported("vmware.ovf", virtio=True)
    assert {nic["model"] for nic in known.vm["nics"]} == {disk["bus"] for disk in known.vm["disks"]} == {"virtio"}
    on_pc = imported("vmware.ovf", IDE, SECURE)
    assert on_pc.vm["machine"] == "pc"
    assert [nic["model"] for nic in on_pc.vm["nics"]] == ["e1000", "e1000"]


def test_disks_are_in_the_order_of_their_places():
    machine = imported("vmware.ovf")
    assert [disk.file for disk in machine.disks] == ["till-1.vmdk", "till-2.vmdk"]
    assert [disk["size"] for disk in machine.vm["disks"]] == [64 * 2**20, 16 * 2**20]
    assert [disk["boot_order"] for disk in machine.vm["disks"]] == [1, 2]
    order = '<vmw:ExtraConfig vmw:key="bios.hddOrder" vmw:value="scsi0:1"/>'
    asked = imported("vmware.ovf", (FIRMWARE, FIRMWARE + order))
    assert [disk.file for disk in asked.disks] == ["till-2.vmdk", "till-1.vmdk"]


@pytest.mark.parametrize(
    ("controller", "bus"),
    [
        (("lsilogicsas", "6"), "sata"),
        (("VirtualSCSI", "6"), "sata"),
        (("buslogic", "6"), "sata"),
        (("VirtioSCSI", "6"), "scsi"),
        (("vmware.sata.ahci", "20"), "sata"),
        (("vmware.nvme.controller", "20"), "sata"),
        (("PIIX4", "5"), "ide"),
    ],
)
def test_a_disk_is_on_a_bus_whose_driver_the_guest_has(controller, bus):
    subtype, kind = controller
    change = (IDE[0], f"<rasd:ResourceSubType>{subtype}</rasd:ResourceSubType><rasd:ResourceType>{kind}<")
    machine = imported("vmware.ovf", change, SECURE)
    assert {disk["bus"] for disk in machine.vm["disks"]} == {bus}
    assert refusals(machine.vm, ImportOptions()) == []


def test_ide_stays_on_libvirt_and_kubevirt_says_what_to_do():
    podman = imported("virtualbox.ovf", contents=BIOS)
    assert (podman.vm["machine"], podman.vm["disks"][0]["bus"]) == ("pc", "ide")
    k3s = imported("virtualbox.ovf", contents=BIOS, runtime="k3s", format="raw")
    assert (k3s.vm["machine"], k3s.vm["disks"][0]["bus"], k3s.vm["disks"][0]["format"]) == ("q35", "sata", "raw")
    told, why = outcome(k3s, "Item[7]/Parent")
    assert told == "changed"
    assert "0x7B" in why
    assert "podman" in why
    assert refusals(k3s.vm, ImportOptions(runtime="k3s")) == []


def test_secure_boot_takes_a_machine_without_ide():
    machine = imported("vmware.ovf", IDE)
    assert (machine.vm["machine"], {disk["bus"] for disk in machine.vm["disks"]}) == ("q35", {"sata"})
    assert refusals(machine.vm, ImportOptions()) == []


def test_virtualbox_has_its_uuid_macs_and_clock_in_its_own_part():
    machine = imported("virtualbox.ovf", contents=BIOS, timezone="Europe/Berlin")
    assert machine.vm["uuid"] == "7a3a1c0b-9e55-4f6c-8a6f-3b1a0f5e8d11"
    assert machine.vm["nics"] == [{"network": "default", "model": "rtl8139", "mac": "08:00:27:1a:2b:3c"}]
    assert machine.vm["timezone"] == "Europe/Berlin"
    assert machine.vm["firmware"] == "bios"
    assert machine.vm["memory"] == 512 * 2**20
    efi = imported("virtualbox.ovf", ('<Chipset type="PIIX3"/>', '<Firmware type="EFI"/><Chipset type="ICH9"/>'))
    assert efi.vm["firmware"] == "uefi"
    assert imported("virtualbox.ovf", contents=UEFI).vm["firmware"] == "bios"


@pytest.mark.parametrize(("said", "state"), [("false", "down"), ("FALSE", "down"), ("0", "down"), ("true", None)])
def test_a_card_that_is_not_connected_at_power_on_has_its_cable_pulled(said, state):
    machine = imported("vmware.ovf", ("AutomaticAllocation>true<", f"AutomaticAllocation>{said}<"))
    assert [nic.get("link_state") for nic in machine.vm["nics"]] == [state, "down"]
    assert outcome(machine, "Item[8]/AutomaticAllocation") == ("kept", "nics[0].link_state")


@pytest.mark.parametrize(
    ("version", "cable", "state"),
    [
        ("1.16-linux", "", None),
        ("1.16-linux", ' cable="true"', None),
        ("1.16-linux", ' cable="false"', "down"),
        # VirtualBox before 5.1 wrote only what is connected.
        ("1.15-macosx", "", "down"),
        ("1.15-macosx", ' cable="true"', None),
        ("nonsense", "", None),
    ],
)
def test_a_cable_that_is_pulled_in_virtualbox_stays_pulled(version, cable, state):
    changes = (("1.16-linux", version), ('MACAddress="0800271A2B3C"', f'MACAddress="0800271A2B3C"{cable}'))
    machine = imported("virtualbox.ovf", *changes)
    assert [nic.get("link_state") for nic in machine.vm["nics"]] == [state]
    if cable:
        assert outcome(machine, "Adapter[1]@cable") == ("kept", "nics[0].link_state")
    else:
        assert bool([line for line in machine.report if line["field"] == "nics[0].link_state"]) == (state == "down")


def test_windows_without_a_time_zone_is_told_of():
    silent = imported("vmware.ovf")
    assert silent.vm["timezone"] == "UTC"
    assert "give 'timezone'" in outcome(silent, "timezone")[1]
    linux = imported(
        "vmware.ovf", ("windows9_64Guest", "debian11_64Guest"), ("Microsoft Windows 10", "Debian Darwin 11")
    )
    assert not [line for line in linux.report if line["field"] == "timezone"]


VTPM = """<Item><rasd:ElementName>vTPM</rasd:ElementName><rasd:InstanceID>20</rasd:InstanceID>
<rasd:ResourceSubType>vmware.vtpm</rasd:ResourceSubType><rasd:ResourceType>1</rasd:ResourceType></Item>"""


def test_a_tpm_is_a_new_one_and_the_report_says_what_that_means():
    machine = imported("vmware.ovf", (FIRMWARE, VTPM + FIRMWARE))
    assert machine.vm["tpm"] is True
    (line,) = [line for line in machine.report if "recovery key" in line["why"]]
    assert line["outcome"] == "changed"
    assert imported("vmware.ovf", (FIRMWARE, VTPM + FIRMWARE), runtime="k3s").vm["tpm"] is False
    module = ("<Chipset", '<TrustedPlatformModule type="v2_0"/><Chipset')
    assert imported("virtualbox.ovf", module).vm["tpm"] is True
    assert imported("virtualbox.ovf", (module[0], module[1].replace("v2_0", "None"))).vm["tpm"] is False


def test_networks_are_mapped_by_name():
    machine = imported("vmware.ovf", networks={"VM Network": "office"})
    assert {nic["network"] for nic in machine.vm["nics"]} == {"office"}


@pytest.mark.parametrize("name", ["vmware.ovf", "virtualbox.ovf"])
def test_every_field_of_the_source_has_an_outcome(name):
    root = parse(source(name), where=name)
    count = 0
    for element in root.iter():
        count += len(element.attrib) + bool((element.text or "").strip())
        count += not element.attrib and not len(element) and not (element.text or "").strip()
    machine = imported(name, contents=UEFI)
    of_source = [line for line in machine.report if line["field"].startswith("Envelope")]
    assert len(of_source) == count
    assert all(line["outcome"] in {"kept", "changed", "dropped"} and line["why"] for line in machine.report)
    dropped = {line["why"] for line in machine.report if line["outcome"] == "dropped"}
    wanted = ("CD drive", "floppy drive") if name == "vmware.ovf" else ("CD drive", "sound card", "USB controller")
    assert all(any(what in why for why in dropped) for what in wanted)


def test_it_lands_switched_off_under_the_wished_name():
    machine = imported("vmware.ovf", name="till", folder="old/disks")
    assert (machine.vm["name"], machine.vm["run_policy"]) == ("till", "halted")
    assert machine.vm["disks"][0]["source"] == "file:old/disks/till/disk0.qcow2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("till-1.vmdk", "../../etc/shadow"), "is no file of the package"),
        (("till-1.vmdk", "/etc/shadow"), "is no file of the package"),
        (("till-1.vmdk", "http://example.org/x.vmdk"), "is no file of the package"),
        (('fileRef="file1"', 'fileRef="file9"'), "names no file of the package"),
        (("ovf:/disk/vmdisk1", "ovf:/disk/vmdisk9"), "names no disk of the package"),
        (("byte * 2^20", "parsecs"), "is no unit of bytes"),
        (('capacity="64"', 'capacity="many"'), "is not a whole number"),
        (('ovf:diskId="vmdisk1"', 'ovf:diskId="vmdisk1" ovf:parentRef="x"'), "differs from another disk"),
        ((">6</rasd:VirtualQuantity>", ">six</rasd:VirtualQuantity>"), "is not a whole number"),
        ((">4096</rasd:VirtualQuantity>", ">0</rasd:VirtualQuantity>"), "memory: is out of range"),
        (("<Envelope", "<!DOCTYPE x [<!ENTITY a 'b'>]><Envelope"), "document type"),
        (('ovf:id="file1"', 'ovf:id="file1" ovf:compression="brotli"'), "is not known"),
    ],
)
def test_what_cannot_be_is_one_error(change, message):
    with pytest.raises(EdgeError, match=message) as caught:
        imported("vmware.ovf", change)
    assert all(str(problem.where).startswith("vmware.ovf") for problem in caught.value.problems)


def test_of_several_machines_one_is_chosen():
    text = source("virtualbox.ovf").decode()
    begin, end = text.index("<VirtualSystem "), text.index("</Envelope>")
    one = text[begin:end]
    two = text[:begin] + f"<VirtualSystemCollection>{one}{one.replace(XP, W2K)}</VirtualSystemCollection>"
    envelope = read_envelope((two + "</Envelope>").encode(), where="two")
    with pytest.raises(EdgeError, match=r"has several machines; expected one of xp, w2k"):
        OvfMachine(envelope, ImportOptions(), where="two")
    assert OvfMachine(envelope, ImportOptions(system="w2k"), where="two").imported(None).vm["name"] == "xp"
