"""What the chart makes of each value set of its README is what is written down; ``make golden`` writes it anew."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import pytest

from tests.chart.golden import FOLDER
from tests.chart.support import CHART, DEFINITION, LEAST, cases, comparable, helm, load_all, render

if TYPE_CHECKING:
    from tests.chart.support import Rendered

pytestmark = pytest.mark.needs("helm")


def test_every_set_of_the_readme_is_a_case() -> None:
    text = (CHART / "README.md").read_text()
    assert len(cases()) == text.count("```yaml\n") == text.count("\n## ")
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(cases())


def test_the_manifests_are_those_that_are_written_down(case: Rendered, case_name: str) -> None:
    expected = (FOLDER / f"{case_name}.yaml").read_text()
    found = comparable(case.text)
    lines = difflib.unified_diff(expected.splitlines(), found.splitlines(), "golden", "rendered", lineterm="")
    assert found == expected, "make golden, if this is meant:\n" + "\n".join(lines)


def test_a_rendering_has_no_other_chance_in_it(all_rendered: dict[str, Rendered]) -> None:
    """Or golden files would be compared with a part that is left out."""
    first = all_rendered["all-in-one"]
    again = render(first.given)
    assert first.text != again.text  # the key and the database's password
    assert comparable(first.text) == comparable(again.text)
    assert comparable(first.text).count("(random)") == 3


@pytest.mark.parametrize("name", cases())
def test_lint_has_nothing_to_say(name: str) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in helm("lint", "--strict", str(CHART), given=cases()[name])


def test_the_definition_is_the_one_of_agent_sandbox(all_rendered: dict[str, Rendered]) -> None:
    (expected,) = load_all((CHART / "files" / "agents.x-k8s.io_sandboxes.yaml").read_text())
    found = all_rendered["all-in-one"].one("CustomResourceDefinition", DEFINITION)
    assert found["spec"] == expected["spec"]
    # helm uninstall would take every Sandbox of the cluster with it.
    assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    with_definition = {name for name, one in all_rendered.items() if one.kinds("CustomResourceDefinition")}
    without = {"a-cluster-that-has-agent-sandbox", "rights-that-somebody-else-gives", "docker"}
    assert with_definition == set(cases()) - without


def test_an_older_cluster_is_told_what_it_lacks() -> None:
    with pytest.raises(Exception, match=r"requires kubeVersion: >=1\.30\.0-0"):
        render(LEAST, "--kube-version", "1.29.0")
