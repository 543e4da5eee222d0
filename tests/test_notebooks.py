"""Notebooks are run from their first cell to their last, and what is committed beside the code is what comes out.

    python tests/test_notebooks.py            runs them and writes their outputs
    python tests/test_notebooks.py 02 05      these only

Cells tagged "live" train something: their numbers may differ between machines, so only that they run is checked.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import nbclient
import nbformat
import pytest
from warm import Warm

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Our own warnings are errors in the notebook's process too.
STRICT = 'import warnings\n\nwarnings.filterwarnings("error", module=r"ltr(\\..*)?$")'

# Notebooks that read committed results, and where these lie.
READS = {"01_listwise_vs_pairwise": "losses-*", "05_read_a_leaderboard": "mq2008"}


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook, executed in an empty folder; nothing of the user's Jupyter, IPython or data has a say."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT, id="strict"))
    own = {name: str(folder) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "LTR_DATA")}
    own["TQDM_DISABLE"] = "1"  # bars are for who watches; what is committed has none
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        client = nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", record_timing=False)
        client.execute(cwd=str(folder))
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    del notebook.cells[0]
    for number, cell in enumerate(code(notebook), start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    return notebook


def code(notebook) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(cell) -> list[str]:
    """What a cell prints and shows in words; pictures are left to the eye."""
    # Two streams, which may overtake each other on their way.
    told = [(o.name, o.text) for o in cell.outputs if o.output_type == "stream"]
    streams = "".join(text for name, text in sorted(told, key=lambda each: each[0]))
    shown = [o.data.get("text/plain", "") for o in cell.outputs if "data" in o and "image/png" not in o.data]
    return [streams, *shown]


# A kernel that is forked from a process which has loaded torch and Lightning already, each notebook in one of its own.
KERNEL = """
import os, sys
os.setsid()
os.environ["JPY_PARENT_PID"] = str(os.getppid())
import matplotlib
# These two read the environment when they were loaded.
matplotlib.rcParams["backend"] = "module://matplotlib_inline.backend_inline"
for name in [name for name in sys.modules if name.partition(".")[0] == "tqdm"]:
    del sys.modules[name]
from ipykernel import kernelapp
kernelapp.launch_new_instance(sys.argv[1:])
"""


class Kernel(Warm):
    """What jupyter_client asks of a kernel's process."""

    stdin = stdout = stderr = None

    def __init__(self, words, cwd, env, **_):
        super().__init__(["-c", KERNEL, *words[words.index("-f") :]], cwd=cwd, env=env)
        while self.poll() is None and os.getpgid(self.pid) != self.pid:
            time.sleep(0.01)  # its signals go to its group

    def wait(self):
        code = self.end()[0]
        self.folder.cleanup()
        return code

    def kill(self):
        self.process.kill()

    def terminate(self):
        self.process.terminate()

    def send_signal(self, number):
        os.kill(self.pid, number)


@pytest.fixture(scope="module")
def warm_kernels():
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux":
            patch.setattr("jupyter_client.provisioning.local_provisioner.launch_kernel", Kernel)
        yield


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda p: p.stem)
def both(request, tmp_path_factory, warm_kernels):
    """The notebook as it was committed, and as it runs now."""
    wanted = READS.get(request.param.stem)
    if wanted and not list(ROOT.glob(f"benchmarks/results/{wanted}")):
        pytest.skip(f"no results {wanted} in this checkout")
    return nbformat.read(request.param, as_version=4), run(request.param, tmp_path_factory.mktemp("notebook"))


def test_it_runs_without_a_word_on_stderr(both):
    """None but the table of roles, which the first reading of a table says, and notes on the data, said once."""
    for cell in code(both[1]):
        for output in cell.outputs:
            said = output.get("text", "").startswith(("ltr: columns of ", "ltr: note: "))
            assert output.output_type != "error" and (output.get("name") != "stderr" or said), output


def test_committed_outputs_are_what_comes_out(both):
    committed, fresh = (code(notebook) for notebook in both)
    for number, (old, new) in enumerate(zip(committed, fresh, strict=True), start=1):
        assert old.execution_count == number, "run it as a whole: python tests/test_notebooks.py"
        kinds = [[o.output_type for o in cell.outputs if o.output_type != "stream"] for cell in (old, new)]
        assert kinds[0] == kinds[1], old.source
        if "live" not in old.metadata.get("tags", []):
            assert said(old) == said(new), "the outputs are old: python tests/test_notebooks.py"


def test_it_is_small_and_knows_no_place_of_a_machine(both):
    text = json.dumps(both[0])
    assert len(text) < 1_000_000
    for place in ("/root/", "/home/", "/tmp/", str(ROOT), str(ROOT.parent)):
        assert place not in text


if __name__ == "__main__":
    for each in [n for n in NOTEBOOKS if not sys.argv[1:] or n.stem.startswith(tuple(sys.argv[1:]))]:
        with tempfile.TemporaryDirectory() as empty:
            executed = run(each, Path(empty))
        nbformat.write(executed, each)
        print(f"wrote {each.relative_to(ROOT)}")
