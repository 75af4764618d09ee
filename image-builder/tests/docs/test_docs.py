"""The project's pages are true where a program can tell: links, options, targets, READMEs made from code."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import yaml
from edgewright.cli import VERBS, VerbModule, verb_parser

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).parents[3]
_SKIPPED = {".venv", "build", "dist", "node_modules"}
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part in _SKIPPED or part.startswith(".") for part in path.relative_to(ROOT).parts)
)
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# A command at a line's start (also after $) or in backticks, up to the end of either, a comment or a pipe.
_COMMAND = re.compile(r"(?:^ *(?:\$ )?|`)(?:\.venv/bin/)?edgewright (?P<words>[a-z][^`\n#|]*)", re.MULTILINE)
_MAKE = re.compile(r"(?:^ *(?:\$ )?|`)make (?P<targets>[a-z0-9-]+(?: [a-z0-9-]+)*)(?=`|\s*$)", re.MULTILINE)
_PROSE = {"means", "and"}


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """Anchors that forges make of headings: lower case, blanks to hyphens, other punctuation gone."""
    headings = re.findall(r"^#+ +(.+?) *$", _FENCE.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def parser_of(verb: str) -> argparse.ArgumentParser:
    return verb_parser(verb, cast("VerbModule", importlib.import_module(f"edgewright.verbs.{verb}")))


def commands(text: str) -> list[list[str]]:
    """The words after `edgewright` of each command of a page."""
    joined = text.replace("\\\n", " ")
    found = []
    for match in _COMMAND.finditer(joined):
        lexer = shlex.shlex(match["words"], posix=True)
        lexer.whitespace_split = True
        lexer.quotes = '"'
        words = list(lexer)
        if words and words[0] not in _PROSE:
            found.append(words)
    return found


def test_pages_are_found() -> None:
    names = {page_name(page) for page in PAGES}
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/inventory.md", "docs/node-image.md"} <= names


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_command_has_a_verb_and_options_that_exist(page: Path) -> None:
    wrong = []
    for words in commands(page.read_text()):
        if words[0] not in VERBS:
            wrong.append(f"edgewright {words[0]}")
            continue
        known = parser_of(words[0])._option_string_actions
        wrong += [
            f"edgewright {words[0]} {word}"
            for word in words[1:]
            if re.match(r"--?[a-z]", word) and word.partition("=")[0].rstrip(".,:;") not in known
        ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_make_target_exists(page: Path) -> None:
    existing = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {target for match in _MAKE.finditer(page.read_text()) for target in match["targets"].split()}
    assert named <= existing


def test_the_readme_names_every_verb_that_a_new_user_needs() -> None:
    named = {words[0] for words in commands((ROOT / "README.md").read_text())}
    assert {"check", "lock", "fetch", "build", "boot", "flash"} <= named


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_of_a_verbs_help_can_be_parsed(verb: str) -> None:
    for command, _ in VERBS[verb].examples:
        options = parser_of(verb).parse_args(shlex.split(command)[2:])
        assert options.json in {True, False}


def test_role_readmes_are_up_to_date() -> None:
    script = ROOT / ".ci" / "role-readmes"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_role_of_the_site_playbook_has_a_readme() -> None:
    (play,) = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text())
    roles = ROOT / "collections/ansible_collections/edgewright/edge/roles"
    for role in {role for names in play["vars"]["edgewright_runtimes"].values() for role in names}:
        assert (roles / role / "README.md").is_file()


def test_the_changelog_has_the_versions_of_the_package() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text()
