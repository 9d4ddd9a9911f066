# ruff: noqa: E501
"""Every function of YAQL as the plain library has it: values, types, errors.

The calls are made from the library's own signatures, so that a function or an
overload that is added there is tried here. ``test_differential.py`` composes
expressions by a grammar; here each function stands alone, on every kind of value.
"""

from __future__ import annotations

import itertools
import re

import pytest
from plain_yaql import DATA, Calls, Ours, Plain, same

from mistral.errors import ExpressionFault
from mistral.expressions.evaluate import Evaluator
from mistral.expressions.facts import View
from mistral.expressions.settings import ExpressionSettings

pytestmark = pytest.mark.thorough

SETTINGS = ExpressionSettings(limit_iterators=50)
PLAIN = Plain(SETTINGS)
OURS = Ours(SETTINGS)
CALLS = Calls(PLAIN)

SAMPLES = 25
"""Of each overload: some seven thousand calls, four seconds."""


def differences(texts: list[str]) -> list[tuple[str, str, str]]:
    found = []
    for text in dict.fromkeys(texts):
        if "{{" in text or "%>" in text:
            continue  # Jinja's, and the end of an expression
        library, ours = PLAIN.outcome(text), OURS.outcome(text)
        if not same(library, ours):
            found.append((text, library, ours))
    return found


@pytest.mark.parametrize("name", sorted(CALLS.definitions))
def test_function_gives_what_the_library_gives(name: str) -> None:
    """§ 24: the language is YAQL 3.2."""
    assert differences(list(CALLS.of(name, SAMPLES))) == []


def test_samples_are_many_and_mostly_meaningful() -> None:
    """Otherwise the test above would prove little."""
    texts = {text for name in CALLS.definitions for text in CALLS.of(name, SAMPLES)}
    worked = sum(not PLAIN.outcome(text).startswith("!") for text in texts)
    assert len(texts) > 4_000
    assert worked > len(texts) // 2


NAMED_IN_THE_SPECIFICATION = """
abs accumulate add aggregate all any append assert bitwiseAnd bitwiseNot bitwiseOr bitwiseXor bool call characters
coalesce concat contains containsKey containsValue count cycle datetime def defaultIfEmpty delete deleteAll dict
difference distinct endsWith enumerate escapeRegex examine filter first flatten float format generate generateMany get
groupBy hex indexOf indexWhere insert insertMany int intersect isBoolean isDatetime isDict isEmpty isInteger isIterable
isList isNumber isRegex isSet isString isTimespan items join keys last lastIndexOf lastIndexWhere len let limit list
localtz map matches max memorize mergeWith min norm now orderBy orderByDescending pow random range reduce regex remove
repeat replace replaceBy replaceMany reverse rightSplit round search searchAll select selectAllCases selectCase
selectMany sequence set shiftBitsLeft shiftBitsRight sign single skip skipWhile slice sliceWhere split splitAt
splitWhere startsWith str substring sum switch switchCase symmetricDifference take takeWhile thenBy thenByDescending
timespan toCharArray toDict toList toLower toSet toUpper trim trimLeft trimRight union unpack utctz values where with
zip zipLongest
""".split()


def test_every_function_of_the_specification_is_there() -> None:
    """§ 24, the list of standard functions."""
    missing = set(NAMED_IN_THE_SPECIFICATION) - Evaluator().yaql_names
    assert missing == set()


PATTERNS = r"""
a a* x* b. ^a ^ [ab]+ (a)(b)? (a|b)* a{2} a{,2} a{1,} a{1,2}? a+? [^a] [^a-c]+ \d+ \w+ \s \S+ \W \D+ [\w-]+ [\d.]+ []a]
[^]a] [a\]] \. (?i)A (?:ab)+ \x61 \u0061 \t [\t\x20] a.b \n (a) () (a|ab)(c|bcd)(d*) é [é-ü] \w (b|(a))* (?s). (?m)^. \Aa
a\Z a(?i:B) [\b] \0 \141 [[:alpha:]] [a[b]|a] { a{ a{x} } \Q.\E \pL \p{L} \C \z [\S] [\W_] [^\s] [^\W] [\D] \/ \- \@ [\-a]
[a-] [+--] ( ) * + ? a** [b-a] \\ [\\] \U00000061 (?-i:a) (?i-s:A) \_ [a&&b] [a--b] (?:) ((a)|b)+ [A-z] .{3} \xe9 (?<n>a)
[\x00-\x7f]+ (?im)^B a|b [a-\d] (?P<n>a (?P<1>a) a{2}{3} a{2,1}
""".split()
TEXTS = ["", "a", "abcd", "b a.c\\nab", "Ab12 éa_b\\tx", "a\\n", "--", "aaa", "xaxbx"]
USES = [
    "{t} =~ {p}",
    "{t} !~ {p}",
    "{t}.matches({p})",
    "regex({p}).matches({t})",
    "regex({p}).search({t})",
    "regex({p}).searchAll({t}, [$.value, $.start, $.end])",
    "regex({p}).search({t}, [$, $2])",
    "regex({p}).split({t})",
    "{t}.split(regex({p}), 1)",
    "{t}.replace(regex({p}), '<>')",
    "{t}.replace(regex({p}), 'é\\\\g<0>\\\\n\\\\.\\\\101', 2)",
    "{t}.replace(regex({p}), '[\\\\1]')",
    "{t}.replaceBy(regex({p}), '<' + str($.start) + '>')",
    "regex({p}, true, true, true).searchAll({t})",
    "regex({p}, multiLine => true).split({t}, maxSplit => 2)",
]


def quoted(pattern: str) -> str:
    return "'" + pattern.replace("\\", "\\\\").replace("'", "\\'") + "'"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_regular_expressions_are_those_of_python(pattern: str) -> None:
    """§ 24, ``=~`` and the functions of regular expressions."""
    texts = [
        use.format(p=quoted(pattern), t=f"'{text}'")
        for text, use in itertools.product(TEXTS, USES)
    ]
    assert differences(texts) == []


@pytest.mark.parametrize(
    "template",
    [r"\2", r"\g<1>", r"\g<2>", r"\g<n>", r"\g<>", r"\q", r"\\", r"\8", r"\400"]
    + [r"\1\1", r"\11", r"\07", r"\0", r"\z", r"\é", r"\-", "\\", r"\a\t\v", r"\g"],
)
def test_replacements_are_those_of_python(template: str) -> None:
    texts = [f"ab.replace(regex('(b)|x'), {quoted(template)})"]
    assert differences([*texts, texts[0].replace("ab.", "''.")]) == []


@pytest.mark.parametrize(
    ("text", "library", "ours"),
    [
        # the group of a name cannot be read there
        ("regex('(?P<n>b)').search(abc, $n.value)", "!form", '"b"'),
        # RE2, mistral/expressions/regex.py
        ("regex('a*?').searchAll(a)", '["", "a", ""]', '["", ""]'),
        ("'a\\n' =~ 'a$'", "true", "false"),
        ("'é' =~ '\\\\bé'", "true", "false"),
        ("aa =~ '(a)\\\\1'", "true", "!pattern"),
        ("ab =~ 'a(?=b)'", "true", "!pattern"),
        ("ab =~ 'a++b'", "true", "!pattern"),
        ("ab =~ '(?x)a b'", "true", "!pattern"),
        ("regex('(a*)*').split(a)", '["", "", "", "", ""]', '["", "a", "", "", ""]'),
    ],
)
def test_what_is_deliberately_different(text: str, library: str, ours: str) -> None:
    """These stand in the docstrings of the modules that replace the library's."""
    assert (PLAIN.outcome(text), OURS.outcome(text)) == (library, ours)


PICKED = r"""
[].orderBy($.nope)
[null].orderBy($.nope)
[{a => 1, b => 1}, {a => 2, b => x}].orderBy($.a).thenBy($.b)
[{a => 1, b => 1}, {a => 1, b => x}].orderBy($.a).thenBy($.b)
[[1, 2], [1, 1], [0, 5], [1, 2]].orderBy($[0]).thenByDescending($[1])
[[1, a], [1, null], [0, 5]].orderByDescending($[0]).thenBy($[1])
[[1.0, b], [1, a], [true, c]].orderBy($[0]).thenBy($[1])
['b', null, 'a', null].orderByDescending($)
[3, 1.5, true, null, false].orderBy($)
[set(1, 2), set(1), set(3)].orderBy($).select($.len())
[datetime(2020, 1, 2), datetime(2019, 1, 2)].orderBy($).select($.year)
[timespan(hours => 1), timespan(minutes => 1)].orderBy($).select($.minutes)
let(x => float(nan)) -> [[$x].indexOf($x), [$x].lastIndexOf($x), $x in [$x], [$x].contains($x)]
let(x => range(5)) -> [$x.first(), $x.first(), $x.sum()]
let(x => range(5).memorize()) -> [$x.first(), $x.first(), $x.sum(), $x.sum()]
let(x => range(5)) -> [$x.limit(2).toList(), $x.toList()]
let(x => range(9)) -> [$x.takeWhile($ < 3).toList(), $x.toList()]
let(x => range(4)) -> $x.zip($x)
let(x => range(4)) -> $x.join($x, true, [$1, $2])
let(x => [1, 2]) -> $x.join($x, $1 <= $2, [$1, $2])
let(x => range(3)) -> [$x.any(), $x.len()]
let(x => range(3)) -> [$x.any($ = 1), $x.len()]
let(x => [1, 2].select($ * 2)) -> [$x.sum(), $x.len()]
sequence().select($ * 2).where($ mod 3 = 0).limit(3)
generate(1, true, $ * 2).takeWhile($ < 40)
range(1, 4).select($ / 0).limit(0)
range(3).select(1 / $).skip(1)
[1, 0].select(1 / $).first()
[1, 0].select(1 / $).any()
coalesce(null, 1, 1 / 0)
true or 1 / 0
false and 1 / 0
switch(false => 1 / 0, true => 2, true => 1 / 0)
1 + 2 * 3 - 4 / 2 mod 3
2 * 3 =~ '6'
not 1 = 2 and 3 > 2 or false
not true = false
-2.5 + - 1
- 1 * 2
1 < 2 = true
1 in [1] = true
1 - 1 - 1
8 / 4 / 2
1 -> $ -> 2
let(1) -> let(2) -> $1
let(a => 1) -> let(b => 2) -> $a + $b
(let(a => 1) -> $a) + 1
let(a => 1) -> $a + let(b => 2) -> $b
$.d.b.c[0]
$.d['b'].c[-1]
$.d[nope]
$.d[nope, 7]
$.l[1:2]
$.l[7]
$.l[a]
$.s[0]
$.ld.a[0]
$.ld[0].b
$?.d?.a
$.n?.d.a
$.n.a
$.nope
$nope
$.d.get(a) + len(abc) + abc.len()
len([1]) + [1].len() + {a => 1}.len() + set(1).len()
toUpper(a)
a.str()
[1].abs()
abs([1])
isEmpty(null)
$.l.max() + max(1, 2) + [].max(0)
[].max()
[null, 1].max()
[a, 1].min()
{a => 1}.a + dict(a => 1).a + dict([[a, 1]]).a
{[1, 2] => x}[[1, 2]]
{1 => a, 1.0 => b, true => c}
dict([[a]])
dict([[]])
dict(a)
{a => 1}.set(b, 2).set(b => 3, c => 4).set({d => 5}).delete(a).keys().orderBy($)
{a => {b => [1], c => 1}}.mergeWith({a => {b => [2], c => 2}}, $1 + $2, $1 * 10 + $2)
{a => {b => 1}}.mergeWith({a => {b => 2}}, maxLevels => 1)
{a => 1}.mergeWith({a => [1]})
[1, 2, 3, 4].groupBy($ mod 2, $ * 10, $.sum()).orderBy($[0])
[[a, 1], [b, 2], [a, 3]].groupBy($[0], $[1]).toDict($[0], $[1])
[1, [2, [3, {a => [4]}], set(5)], 'ab'].flatten()
[1, 2, 3].zip([4, 5], [6])
[1].zipLongest([2, 3], default => 0)
[1, 2, 3, 4, 5].slice(2)
[1, 2, 3, 4, 5].splitWhere($ = 3)
[1, 1, 2, 2, 1].sliceWhere($ > 1)
[1, 2, 3].splitAt(-1)
[1, 2].cycle().limit(5)
[1, 2, 3].accumulate($1 + $2, 10)
[].accumulate($1 + $2)
[].aggregate($1 + $2)
[].aggregate($1 + $2, 5)
'%d-%m' + datetime('2020-02-03T04:05:06.000007+02:00').format('%Y/%m/%d %H:%M:%S.%f %z')
datetime(2020, 1, 31).replace(month => 2)
datetime(2020, 1, 31, offset => timespan(hours => 2)).utc
(datetime('2020-03-01') - datetime('2020-02-01')).days
datetime('2020-01-01') > datetime('2019-12-31T23:00:00-05:00')
datetime('1/2/2020', '%d/%m/%Y').month
datetime(0).timestamp + datetime(1.5).microsecond
datetime('not a date')
datetime(1, 1, 1, offset => timespan(hours => 1))
datetime(9999, 12, 31) + timespan(days => 1)
timespan(days => 1, hours => -1).hours
timespan(hours => 1) / timespan(minutes => 7)
timespan(days => 999999999) * 10
timespan(hours => 1) + 1
datetime(2020, 1, 1) = datetime(2020, 1, 1)
datetime(2020, 1, 1) in [datetime(2020, 1, 1)]
set(1, 2).union(set(3)) = set(3, 2, 1)
set(1, 2) - set(2) + set(7)
set(1) < set(1, 2) and not set(1, 2) <= set(1)
set(1, a, null).contains(null)
set([1], {a => 1}).len()
[1, true, 1.0, '1'].toSet().len()
1 = '1' or null = false or [] = set() or 1 = 1.0
[1, 2] = (1).repeat(2)
{a => 1} = dict(a => 1)
1 < a
null < 1 and not 1 < null and null <= null
[1] < [2]
'b' > 'a' and 'B' < 'a'
round(2.5) + round(-0.5) + round(1.25, 1)
pow(2, 10) + pow(2, -1) + pow(2, 10, 7)
7 mod -3 + -7 mod 3 + 7.5 mod 2
-7 / 2
1 / 0.0
int('0x10')
int('-12') + int(1.9) + int(null) + int(true)
float('1e3') + float(null)
str([1, 'a', null, true, {a => (1).repeat(1).toList()}])
str(null) + str(true) + str(1.0) + str(set(1))
hex(255) + hex(-1)
'a,b,,c'.split(',') + 'a,b,c'.rightSplit(',', 1) + ' a  b '.split()
'abc'.substring(-2) + 'abc'.substring(1, 1) + 'abc'.substring(9)
'abcabc'.indexOf(c, 3) + 'abcabc'.lastIndexOf(b, 0, 3)
'a b'.replace(a => b, b => c)
'a b'.replace({a => b, b => c}, 1)
'aaa'.replace('', '-', 2)
[1, null, true].join(',') + ','.join([a, b])
'x'.norm() + '  '.norm()
characters(digits => true).len() + characters(octdigits => true, hexdigits => true).len()
"\x41\u00e9\n\\" + `a\n`
call(len, [[1, 2]], {})
call(nope, [], {})
[1, 2].assert($.len() = 2).sum()
[1, 2].assert(false, message => no)
def(f, $1 + $2) -> f(1, 2)
def(f, $a) -> f(a => 3)
def(len, 5) -> len([])
def(f, switch($ < 2 => 1, true => $ * f($ - 1))) -> f(5)
[1, 2].unpack(a, b) -> $a * 10 + $b
[1, 2].unpack(a) -> $a
[1, 2].unpack() -> $1 + $2
with(1, 2) -> $2
examine(true, null, 1)
selectCase(false, true) + selectAllCases(true, false, true).sum()
1.switchCase(a, b, c) + 9.switchCase(a, b)
range(0, 10, 3) + range(3, 0, -1)
range(1, 2, 0)
enumerate([a, b], 1)
[1, 2, 3].insert(1, x) + [1, 2].insertMany(1, [8, 9]) + [1, 2, 3].delete(-1)
[1, 2, 3, 4].replace(1, x, 2) + [1, 2, 3].replaceMany(0, [7, 8], -1)
[1, 2].repeat(2).flatten()
localtz() = localtz() and utctz() = timespan()
1 2
1 +
$.
a(
'a
#
$.l.where($ > 1
[1, 2
a == b
{a: 1}
1e3
0x1
.5
__a
$.__a
lambda($)
f => 1
=> 1
""".strip().splitlines()


@pytest.mark.parametrize("text", PICKED)
def test_expression_gives_what_the_library_gives(text: str) -> None:
    """§ 24: precedence, laziness, null, look-ups, calls, contexts, syntax."""
    assert differences([text]) == []


OPTIONS = {
    "tuples": ExpressionSettings(limit_iterators=50, convert_tuples_to_lists=False),
    "sets": ExpressionSettings(limit_iterators=50, convert_sets_to_lists=True),
    "dicts": ExpressionSettings(limit_iterators=50, iterable_dicts=True),
    "delegates": ExpressionSettings(limit_iterators=50, allow_delegates=True),
}
MORE = [
    "$.select($)",
    "$.d.select([$, 1])",
    "a in $.d",
    "$.d.items()",
    "$.d.toSet()",
    "list($.d)",
    "[set(1), [set(2)]]",
    "{a => set(1)}",
    "let(f => lambda($ + 1)) -> $f(2)",
    "lambda($1 + $2)(1, 2)",
    "[lambda($ * 2), lambda($ + 2)].select($(5))",
    "1(2)",
    "lambda($).len()",
]


@pytest.mark.parametrize("option", OPTIONS)
def test_options_mean_what_they_mean_there(option: str) -> None:
    """spec/engine.md § 11, the group ``[yaql]``."""
    plain, ours = Plain(OPTIONS[option]), Ours(OPTIONS[option])
    found = [
        (text, plain.outcome(text), ours.outcome(text))
        for text in [*PICKED, *MORE]
        if "{{" not in text
    ]
    assert [one for one in found if not same(*one[1:])] == []


@pytest.mark.parametrize(
    "limits",
    [
        ExpressionSettings(limit_iterators=3),
        ExpressionSettings(limit_iterators=50, memory_quota=80),
        ExpressionSettings(limit_iterators=50, max_steps=20),
        ExpressionSettings(limit_iterators=50, max_output_bytes=120),
    ],
    ids=["iterators", "memory", "steps", "bytes"],
)
def test_limits_refuse_and_change_nothing_else(limits: ExpressionSettings) -> None:
    """SEC-13: within its limits an expression gives what it gives without. (Inner
    fallbacks of the library must not take a limit for an answer.)"""
    limited = Ours(limits)
    found = [(text, OURS.outcome(text), limited.outcome(text)) for text in PICKED]
    refused = [text for text, _free, kept in found if kept == "!limit"]
    assert [one for one in found if one[2] not in (one[1], "!limit")] == []
    assert 5 < len(refused) < len(PICKED)


def test_text_forms_are_those_of_the_values() -> None:
    """§ 21.3: inside of a text the value is printed."""
    evaluator = Evaluator(SETTINGS)
    compared = 0
    for text in PICKED:
        try:
            found = evaluator.evaluate(f"-<% {text} %>", View(DATA))
            value = PLAIN.converted(text)
        except ExpressionFault:
            continue
        if "lazy" not in PLAIN.outcome(text) and not re.search("0x|set", str(value)):
            assert found == f"-{value}"
            compared += 1
    assert compared > 80
