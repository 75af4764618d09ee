from __future__ import annotations

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.image_references import Found, image_references, unique
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "sha256:" + "ab" * 32


def found(text):
    return [(each.where, each.reference) for each in image_references(yaml.safe_load_all(text))]


def names(text):
    return [reference for _, reference in found(text)]


def test_every_container_of_every_workload_is_found():
    pod = "{initContainers: [{image: a}], containers: [{image: 'b:1'}], ephemeralContainers: [{image: quay.io/c/c:2}]}"
    expected = ["docker.io/library/a:latest", "docker.io/library/b:1", "quay.io/c/c:2"]
    assert names(f"{{kind: Pod, spec: {pod}}}") == expected
    for kind in ("Deployment", "DaemonSet", "StatefulSet", "Job", "ReplicaSet", "Rollout"):
        assert names(f"{{kind: {kind}, spec: {{template: {{spec: {pod}}}}}}}") == expected
    assert names(f"{{kind: CronJob, spec: {{jobTemplate: {{spec: {{template: {{spec: {pod}}}}}}}}}}}") == expected


def test_the_place_is_told():
    text = (
        "{kind: Deployment, metadata: {name: n, namespace: s}, spec: {template: {spec: {containers: [{image: a:1}]}}}}"
    )
    assert image_references([yaml.safe_load(text)]) == [
        Found("docker.io/library/a:1", "Deployment s/n: spec.template.spec.containers[0].image")
    ]


def test_lists_and_documents_and_empty_ones_are_read():
    text = (
        "---\n---\nkind: List\nitems:\n- {kind: PodList, items: [{kind: Pod, spec: {containers: [{image: 'a:1'}]}}]}\n"
    )
    assert names(text + "---\n{kind: Pod, spec: {containers: [{image: 'b:1'}]}}\n") == [
        "docker.io/library/a:1",
        "docker.io/library/b:1",
    ]


def test_volumes_machines_and_imports_are_found():
    text = f"""
kind: Pod
spec: {{volumes: [{{image: {{reference: 'quay.io/models/m:1', pullPolicy: IfNotPresent}}}}]}}
---
kind: VirtualMachine
spec:
  dataVolumeTemplates:
    - spec: {{source: {{registry: {{url: 'docker://quay.io/disks/till@{DIGEST}', pullMethod: node}}}}}}
  template: {{spec: {{volumes: [{{containerDisk: {{image: 'quay.io/disks/live:2'}}}}]}}}}
---
kind: DataVolume
spec: {{source: {{http: {{url: 'https://example.org/disk.img'}}}}}}
---
kind: Prometheus
spec: {{image: 'quay.io/prometheus/prometheus:v3', baseImage: '', thanos: {{baseImage: 'quay.io/thanos/thanos:1'}}}}
"""
    assert names(text) == [
        "quay.io/models/m:1",
        f"quay.io/disks/till@{DIGEST}",
        "quay.io/disks/live:2",
        "quay.io/prometheus/prometheus:v3",
        "quay.io/thanos/thanos:1",
    ]


def test_what_an_operator_is_told_is_found():
    text = """
kind: Deployment
metadata: {name: cdi-operator}
spec:
  template:
    spec:
      containers:
        - image: quay.io/kubevirt/cdi-operator:v1.66.0
          env:
            - {name: CONTROLLER_IMAGE, value: 'quay.io/kubevirt/cdi-controller:v1.66.0'}
            - {name: RELATED_IMAGE_x, value: 'quay.io/a/x:1'}
            - {name: IMAGE_PULL_POLICY, value: IfNotPresent}
            - {name: EMPTY_IMAGE, value: ''}
            - {name: FROM_IMAGE, valueFrom: {fieldRef: {}}}
          args: ['--side-image=quay.io/a/side:1', --helper-image, 'quay.io/a/helper:1', --image-gc, --image=b:2]
"""
    assert names(text) == [
        "quay.io/kubevirt/cdi-controller:v1.66.0",
        "quay.io/a/x:1",
        "quay.io/a/side:1",
        "quay.io/a/helper:1",
        "docker.io/library/b:2",
        "quay.io/kubevirt/cdi-operator:v1.66.0",
    ]


def operator(image, **environment):
    env = [{"name": name, "value": value} for name, value in environment.items()]
    return {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"image": image, "env": env}]}}}}


DERIVED = ["api", "controller", "handler", "launcher", "exportproxy", "exportserver"]


@pytest.mark.parametrize(
    ("image", "environment", "form"),
    [
        ("quay.io/kubevirt/virt-operator:v1.9.0", {}, "quay.io/kubevirt/virt-{}:v1.9.0"),
        ("r.lan:5000/kv/my-virt-operator:v1", {}, "r.lan:5000/kv/my-virt-{}:v1"),
        (f"quay.io/kubevirt/virt-operator@{DIGEST}", {"KUBEVIRT_VERSION": "v1.9.0"}, "quay.io/kubevirt/virt-{}:v1.9.0"),
        ("x/y:1", {"VIRT_OPERATOR_IMAGE": "quay.io/kubevirt/virt-operator:v1.9.0"}, "quay.io/kubevirt/virt-{}:v1.9.0"),
    ],
)
def test_kubevirt_s_operator_names_the_others_after_itself(image, environment, form):
    references = [each.reference for each in image_references([operator(image, **environment)])]
    assert [form.format(name) for name in DERIVED] == [name for name in references if "operator" not in name][:6]


def test_an_image_that_a_variable_names_is_not_derived_and_virt_template_s_are_left_out():
    document = operator(
        "quay.io/kubevirt/virt-operator:v1.9.0",
        VIRT_API_IMAGE="quay.io/mine/api:1",
        VIRT_TEMPLATE_APISERVER_IMAGE="quay.io/kubevirt/virt-template-apiserver:v0.2.2",
    )
    references = [each.reference for each in image_references([document])]
    assert "quay.io/mine/api:1" in references
    assert "quay.io/kubevirt/virt-api:v1.9.0" not in references
    assert not any("template" in reference for reference in references)


def test_texts_and_schemas_name_no_image():
    text = """
kind: ConfigMap
data: {values: 'image: quay.io/a/b:1', image: 'not an image!'}
---
kind: CustomResourceDefinition
spec: {versions: [{schema: {openAPIV3Schema: {properties: {image: {default: x}}}}}]}
---
kind: Secret
stringData: {image: 'no image'}
---
kind: Pod
metadata: {annotations: {image: 'a b c'}}
"""
    assert names(text) == []


def test_what_is_no_image_is_refused_with_its_place():
    text = (
        "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: 'A b'}, {image: '{{ image }}'}, {image: 'ok:1'}]}"
    )
    with pytest.raises(EdgeError) as caught:
        image_references(yaml.safe_load_all(text))
    assert [problem.where for problem in caught.value.problems] == [
        "Pod p: spec.containers[0].image",
        "Pod p: spec.containers[1].image",
    ]


def test_what_only_sounds_like_an_image_is_passed_over():
    text = """
kind: Slide
spec:
  backgroundImage: sunset
  titleImage: /img/Title Page.png
  image: none
  template:
    spec:
      containers:
        - env: [{name: DISK_IMAGE, value: disk.img}, {name: LOGO_IMAGE, value: 'file:///logo.png'}]
          args: 7
        - {env: {a: b}, command: x}
"""
    assert names(text) == []


def test_an_image_s_places_are_gathered():
    text = "{kind: Pod, metadata: {name: p}, spec: {containers: [{image: 'a:1'}, {image: 'docker.io/library/a:1'}]}}"
    assert unique(image_references(yaml.safe_load_all(text))) == {
        "docker.io/library/a:1": ["Pod p: spec.containers[0].image", "Pod p: spec.containers[1].image"]
    }


TREES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["spec", "env", "args", "x"]), inner),
)


@given(TREES, st.lists(st.sampled_from(["spec", "template", "x"]), max_size=5))
def test_an_image_is_found_at_any_depth_and_beside_anything(tree, path):
    document = {"containers": [{"image": "quay.io/a/b:1"}], "beside": tree}
    for key in path:
        document = {key: document}
    assert "quay.io/a/b:1" in [each.reference for each in image_references([{"kind": "X", "body": document}])]
