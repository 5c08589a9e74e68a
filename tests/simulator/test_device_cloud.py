# SPDX-License-Identifier: Apache-2.0
import http.client
import json
import urllib.error
import urllib.request
from itertools import islice

import polars as pl
import pytest

from simulator.cloud_records import DEVICE_SOURCES, records_in_upload_order
from simulator.device_cloud import serve

TOKEN = "a token only for tests"


@pytest.fixture
def cloud(world):
    servers = []

    def start(**how):
        servers.append(serve(world.home, token=TOKEN, **({"rate_per_s": 1e6} | how)))
        return servers[-1].url

    yield start
    for server in servers:
        server.shutdown()


def get(url, token=TOKEN):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def status(url, token=TOKEN):
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(url, token)
    with refused.value as answer:
        return answer.code, answer.headers.get("Retry-After")


def pages(url, source, limit, cursor=""):
    while cursor is not None:
        page = get(f"{url}/v1/records/{source}?limit={limit}&cursor={cursor}")
        yield page
        cursor = page["next_cursor"]


def test_pages_hold_every_readable_row_once_in_upload_order(world, cloud):
    url = cloud()
    faults = world.truth("faults").filter(pl.col("fault").is_in(("malformed_line", "bad_utf8", "truncated_file")))
    for source in DEVICE_SOURCES:
        records = [r for page in pages(url, source, 400) for r in page["records"]]
        assert len(records) == world.summary.rows[source] - faults.filter(pl.col("source") == source).height
        receipts = [r["uploaded_at" if source == "stimulation_sessions" else "recorded_at"].replace("+00:00", "Z") for r in records]
        assert receipts == sorted(receipts)


def test_rows_are_the_same_from_every_format(world):
    rows = [json.loads(r) for r in records_in_upload_order(world.home, "stimulation_sessions")]
    kinds = {name: {type(r[name]) for r in rows if r[name] is not None} for name in rows[0]}
    assert kinds["session_no"] == kinds["duration_ms"] == {int} and kinds["step_intensities"] == {list} and kinds["uploaded_at"] == {str}


def test_a_cursor_can_be_taken_up_again(cloud):
    url = cloud()
    first, second = islice(pages(url, "stimulation_sessions", 7), 2)
    assert len(first["records"]) == 7
    assert next(pages(url, "stimulation_sessions", 7, first["next_cursor"]))["records"] == second["records"]
    assert next(pages(cloud(), "stimulation_sessions", 7, first["next_cursor"]))["records"] == second["records"]  # after a restart


@pytest.mark.parametrize(
    ("path", "token", "code"),
    [
        ("/v1/records/devices", "another", 401),
        ("/v1/records/survey_responses", TOKEN, 404),
        ("/elsewhere", TOKEN, 404),
        ("/v1/records/devices?cursor=%21", TOKEN, 400),
        ("/v1/records/devices?limit=0", TOKEN, 400),
        ("/v1/records/devices?limit=many", TOKEN, 400),
    ],
)
def test_wrong_requests_are_refused(cloud, path, token, code):
    assert status(cloud() + path, token)[0] == code


def test_a_cursor_of_another_source_is_refused(cloud):
    url = cloud()
    cursor = get(f"{url}/v1/records/stimulation_sessions?limit=1")["next_cursor"]
    assert status(f"{url}/v1/records/devices?cursor={cursor}")[0] == 400


def test_above_the_rate_it_says_when_to_come_back(cloud):
    url = cloud(rate_per_s=0.5)
    get(f"{url}/v1/records/devices?limit=1")
    assert status(f"{url}/v1/records/devices?limit=1") == (429, "2")


def test_failures_are_those_of_the_seed(cloud):
    def outcomes(seed):
        url, found = cloud(fail_rate=0.6, seed=seed), []
        for _ in range(12):
            try:
                get(f"{url}/v1/records/devices?limit=5")
                found.append("page")
            except urllib.error.HTTPError as error:
                found.append(str(error.code))
                error.close()
            except http.client.IncompleteRead:
                found.append("cut")
        return found

    assert outcomes(1) == outcomes(1) != outcomes(2)
    assert set(outcomes(1)) == {"page", "500", "cut"}
