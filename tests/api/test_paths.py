"""Segments of paths as servers hand them over."""

from __future__ import annotations

import pytest

from mistral.api.paths import segments_of


@pytest.mark.parametrize(
    ("environ", "segments"),
    [
        ({"PATH_INFO": "/v2/x"}, ["v2", "x"]),
        ({"PATH_INFO": "/v2/x/"}, ["v2", "x", ""]),
        ({"PATH_INFO": ""}, [""]),
        ({"PATH_INFO": "*"}, ["*"]),
        ({"PATH_INFO": "/gr\xc3\xb6\xc3\x9fe"}, ["größe"]),
        ({"PATH_INFO": "/v2/a/b", "REQUEST_URI": "/v2/a%2Fb?x=%2F"}, ["v2", "a/b"]),
        ({"PATH_INFO": "/v2/a/b", "RAW_URI": "/v2/a%2fb"}, ["v2", "a/b"]),
        ({"PATH_INFO": "/v2/a/b", "REQUEST_URI": "/v2/a/b?x=%2F"}, ["v2", "a", "b"]),
        # an application below a prefix, and a whole URL
        ({"PATH_INFO": "/v2/a/b", "REQUEST_URI": "/wf/v2/a%2Fb"}, ["v2", "a/b"]),
        ({"PATH_INFO": "/v2/a/b", "REQUEST_URI": "http://h/v2/a%2Fb"}, ["v2", "a/b"]),
        # waitress takes slashes off the front
        ({"PATH_INFO": "/v2/a", "REQUEST_URI": "//v2/a"}, ["", "v2", "a"]),
        ({"PATH_INFO": "//v2/a", "REQUEST_URI": "//v2/a"}, ["", "v2", "a"]),
        ({"PATH_INFO": "/v2/a/b", "REQUEST_URI": "//v2/a%2Fb"}, ["", "v2", "a", "b"]),
        ({"PATH_INFO": "/v2/a", "REQUEST_URI": "http://h//v2/a"}, ["", "v2", "a"]),
        # somebody in between has changed it
        ({"PATH_INFO": "/v2/c/d", "REQUEST_URI": "/v2/a%2Fb"}, ["v2", "c", "d"]),
        (
            {"PATH_INFO": "/gr\xc3\xb6/b", "REQUEST_URI": "/gr%C3%B6%2Fb"},
            ["grö/b"],
        ),
    ],
)
def test_segments(environ: dict[str, str], segments: list[str]) -> None:
    assert segments_of(environ) == segments
