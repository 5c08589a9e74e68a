# SPDX-License-Identifier: Apache-2.0
"""Prism, Beam's own local runner, as a second witness: a sample of the arrival orders ends there, too, in the rows of the batch."""

import gc
import os
import shutil
import subprocess
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.version import __version__ as beam_version

from pipelines.core.cells import CellOptions
from pipelines.transforms.stream import StreamMarts, StreamOptions
from pipelines.updates import merge_updates, waiting_updates
from tests.pipelines.test_stream_beam import STEP_S, stream_of
from tests.small_world import SECRET
from tests.stream_world import assert_same, batch_of, lines_of

pytestmark = [
    pytest.mark.cluster, pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"), pytest.mark.filterwarnings("ignore::ResourceWarning"),
]  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]
WORLDS = 60


@pytest.fixture(autouse=True)
def swept():
    """What Beam leaves open is collected here, where it is let pass, and not in the middle of somebody else's test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def prism() -> Path:
    """The binary of the installed Beam's version, built once with Go."""
    place = ROOT / ".prism" / beam_version / "prism"
    if not place.exists():
        go = shutil.which("go") or "/usr/local/go/bin/go"
        assert Path(go).exists(), "Prism is built with Go: install it (golang.org), then run again"
        module = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam_version}"
        subprocess.run([go, "install", module], env=os.environ | {"GOBIN": str(place.parent)}, check=True, capture_output=True)
    return place


def test_a_sample_of_orders_ends_in_the_rows_of_the_batch(prism: Path, tmp_path: Path):
    (tmp_path / "secret.key").write_bytes(SECRET)
    stream, sent = stream_of(WORLDS, "prism")
    options = StreamOptions(str(tmp_path), cells=CellOptions(cells=3), settle_s=STEP_S)
    arguments = ["--runner=PrismRunner", f"--prism_location={prism}", "--environment_type=LOOPBACK", "--streaming"]
    with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
        pipeline | stream | StreamMarts(options)
    tables = merge_updates(waiting_updates(tmp_path)).tables
    assert_same(tables, batch_of(line for w in range(WORLDS) for line in lines_of(w)))
    assert tables["receipts"]["offset"].n_unique() == sent
