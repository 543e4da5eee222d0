"""Latency of one list, scored by ltr and by what `ltr export` leaves.

    python -m benchmarks.speed.serve [--quick]

Ours is `ranker.score` on a list of 1 or 100 documents with 136 features, checks included; peers are the exported files
in their runtimes, and of trees the booster's own predict. All score the same raw features and must return our scores
before they are timed. One thread; processor time, which is latency where nobody else runs.
"""

from __future__ import annotations

import sys

from benchmarks.speed.measure import arguments, one_thread, race, row, why, write

one_thread()

import tempfile  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

import ltr  # noqa: E402
from ltr.methods import export  # noqa: E402

PACKAGES = ("torch", "onnxruntime", "lightgbm", "numpy")
NET = {"loss": "listnet", "epochs": 1}
MODELS = {
    "mlp 64-32": ("mlp", {"hidden": [64, 32], **NET}),
    "transformer 64, 2 blocks": ("transformer", {"width": 64, "d_ff": 128, "heads": 2, "blocks": 2, **NET}),
    "lightgbm, 100 trees of 31 leaves": ("lightgbm", {"rounds": 100, "select_rounds": False}),
}
CALLS = 20  # of a round


def runtimes(ranker, folder: Path) -> dict[str, Callable[[np.ndarray], Callable[[], np.ndarray]] | str]:
    """Who scores lists beside us, `features -> a call that scores them`, or why it does not."""
    found: dict[str, Callable[[np.ndarray], Callable[[], np.ndarray]] | str] = {}
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = export(ranker, folder / "model.onnx", "onnx").path
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def onnx(features: np.ndarray) -> Callable[[], np.ndarray]:
            given = {"features": features[None], "where": np.ones((1, len(features)), bool)}
            return lambda: session.run(["scores"], given)[0][0]

        found["onnxruntime"] = onnx
    except ImportError as problem:
        found["onnxruntime"] = why(problem)
    program = torch.export.load(export(ranker, folder / "model.pt2", "pt2").path).module()

    def exported(features: np.ndarray) -> Callable[[], np.ndarray]:
        x, where = torch.from_numpy(features)[None], torch.ones(1, len(features), dtype=torch.bool)

        def run() -> np.ndarray:
            with torch.no_grad():
                return program(x, where)[0].numpy()

        return run

    found["torch.export"] = exported
    if hasattr(ranker, "forest"):
        found[ranker.name] = lambda x: lambda: ranker.model.predict(x, raw_score=True, num_threads=1)
    return found


def main() -> int:
    args = arguments(__doc__).parse_args()
    rounds = args.rounds or (3 if args.quick else 30)
    torch.set_num_threads(1)
    task = ltr.load("synthetic:queries=20,features=136,objectives=1")
    rows = []
    for name, (kind, params) in MODELS.items():
        ranker = ltr.make_ranker(kind, **params).fit(task.train, task.vali, threads=1, progress=False)
        with tempfile.TemporaryDirectory() as folder:
            peers = runtimes(ranker, Path(folder))
        for documents in (1, 100):
            features = np.ascontiguousarray(task.test.features[:documents], dtype=np.float32)
            split = ltr.Split.from_arrays(features)
            runs = {k: v if isinstance(v, str) else v(features) for k, v in peers.items()}
            each = {k: run for k, run in runs.items() if not isinstance(run, str)}
            for peer, run in each.items():
                np.testing.assert_allclose(run(), ranker.score(split), atol=1e-4, err_msg=peer)
            each["ltr"] = lambda: ranker.score(split)  # noqa: B023 (run before the next turn)
            times = race({k: (lambda run=run: [run() for _ in range(CALLS)]) for k, run in each.items()}, rounds)
            medians = {k: 1000 * t.cpu / CALLS for k, t in times.items()}
            case = f"{name}: {documents} document{'s' if documents > 1 else ''}"
            shown = {k: medians.get(k, run) for k, run in runs.items()}
            rows.append(row(case, "ms of processor time", medians["ltr"], shown, lower=True, packages=PACKAGES))
    write("serve", rows, args.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
