"""Each story of ``tests/stories``, told three ways: on the core alone, in one
process, on PostgreSQL and RabbitMQ (``doc/contributor.rst``, "A story")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import NoServer
from storytelling.core_stage import PureStage
from storytelling.database_stages import HouseStage, ServiceStage, service_stage
from storytelling.story import Story, stories_of
from storytelling.telling import tell

STORIES = list(stories_of(Path(__file__).parent / "stories"))

each_story = pytest.mark.parametrize("story", STORIES, ids=[s.id for s in STORIES])


@pytest.fixture(scope="module")
def core() -> PureStage:
    return PureStage()


@pytest.fixture(scope="module")
def echoing() -> PureStage:
    return PureStage(duplicates=True)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseStage]:
    stage = HouseStage(tmp_path_factory.mktemp("stories"))
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceStage]:
    try:
        with service_stage(tmp_path_factory.mktemp("services")) as stage:
            yield stage
    except NoServer as missing:
        pytest.skip(str(missing))


@each_story
def test_on_the_core(story: Story, core: PureStage) -> None:
    tell(story, core)


@pytest.mark.thorough
@each_story
def test_with_every_message_twice(story: Story, echoing: PureStage) -> None:
    """ENG-236: to hear a message again changes nothing."""
    tell(story, echoing)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(2))
@each_story
def test_in_random_order(story: Story, seed: int) -> None:
    """Whatever is heard first, the story ends the same."""
    tell(story, PureStage(seed=seed, own=seed))


PLAIN = [
    story
    for story in STORIES
    if not story.steps
    and "refused" not in story.expect
    and not any("pause" in text for _, u in story.uploads for text in u.values())
]


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("story", PLAIN, ids=[s.id for s in PLAIN])
def test_with_pauses(story: Story, seed: int) -> None:
    """ENG-013, ENG-139, ENG-167: pauses and resumes delay a run, no more."""
    tell(story, PureStage(seed=seed, pauses=2))


@pytest.mark.thorough
@each_story
def test_in_one_process(story: Story, house: HouseStage) -> None:
    tell(story, house)


@pytest.mark.services
@each_story
def test_on_services(story: Story, services: ServiceStage) -> None:
    tell(story, services)


def test_names_are_unique() -> None:
    names = [story.id for story in STORIES]
    assert sorted(set(names)) == sorted(names)
