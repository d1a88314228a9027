"""One outage of each kind under load, on both servers: nothing lost, nothing twice. The long form is `make campaign`."""

import pytest

from tests.campaign.outages import CAUSES, SETTINGS, Bout

CLEAN = {"lost": 0, "doubled": 0, "phantom": 0, "disordered": 0}


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
async def test_one_outage_of_each_kind(kind: str):
    async with Bout(kind, "test") as bout:
        for cause in CAUSES:
            if cause not in SETTINGS:
                await bout.outage(cause)
        verdict = await bout.judge()
    assert verdict.pop("rows") > 300
    assert verdict == CLEAN


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
async def test_long_back_pressure_ends_in_a_close_on_purpose(kind: str):
    async with Bout(kind, "test", **SETTINGS["back_pressure"]) as bout:
        await bout.outage("back_pressure")
        assert bout.count("starting_over") == 0
        verdict = await bout.judge()
    assert verdict.pop("rows") > 300
    assert verdict == CLEAN
