"""Build hook: the facts (cards, suites, expected numbers) travel in the wheel under `ltr/_facts`, from their one home.

Named file by file, because the folders they lie in also hold fetched data, which is under other licences and must
never be packed. An editable install reads the originals and needs no copies.
"""

from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FACTS = (
    "data/README.md",
    "data/*/card.toml",
    "data/*/README.md",
    "benchmarks/suites/*.toml",
    "benchmarks/expected.toml",
    "benchmarks/questions.toml",
)


class Facts(BuildHookInterface):
    def initialize(self, version, build_data):
        if version == "standard":
            root = Path(self.root)
            for fact in (path for pattern in FACTS for path in sorted(root.glob(pattern))):
                relative = fact.relative_to(root).as_posix()
                build_data["force_include"][str(fact)] = f"ltr/_facts/{relative}"
